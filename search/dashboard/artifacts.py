"""What optuna-dashboard shows as files: learning curves of trials, and the report's own files."""

from __future__ import annotations

import csv
import io
import json
import mimetypes
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy import and_, delete

from search.dashboard.dashboard_private import STUDY_FILES, trial_files
from search.dashboard.learning_curves import curve_picture
from search.storage import database_of, optuna_private
from search.study import attributes as attr, complete, looks
from trainers.errors import InputError
from trainers.files import write_atomically

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.study import StudySpec

REPORT_FILES = ("pareto.png", "report.json", "report.html")
"""Of a study's folder, where they have been made."""


class Store(FileSystemArtifactStore):
    """Files in a study's folder, as the page asks for them.

    Raises:
        InputError: The folder is a link: one that came with a study would lead elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_symlink():
            raise InputError(f"the folder of artifacts must be a folder, but {folder} is a link; remove it")
        self.folder = folder
        super().__init__(folder)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open a file; one that is not on this machine is not found, which is no error of the server's."""
        from bottle import HTTPError

        try:
            return super().open_reader(artifact_id)
        except ArtifactNotFound:
            raise HTTPError(404, "The file is not on this machine.") from None

    def remove(self, artifact_id: str) -> None:
        """Remove a file; one that is not there hinders nobody from deleting its study."""
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)


class _File(NamedTuple):
    """What is shown: its name, what it is made from, and how."""

    name: str
    source: bytes
    make: Callable[[], bytes]


def keep_artifacts(study: Study, spec: StudySpec, store: Store, stop: Event | None = None) -> None:
    """Bring the files of a study and its complete trials in step, until ``stop``.

    A file's id is made from what the file is made from: what is there already is not drawn again, and what
    a user uploaded, whose ids are random, stays.
    """
    attrs = optuna_private.system_attributes(study)
    _keep(study, store, attrs, STUDY_FILES, _report_files(store.folder.parent))
    for trial in complete(study.get_trials(deepcopy=False)):
        if stop is not None and stop.is_set():
            return
        # Where the page looks, too, since a trial that has ended takes no attributes.
        _keep(study, store, attrs, trial_files(trial), _trial_files(trial, spec))


def report_state(folder: Path) -> list[tuple[str, int]]:
    """Return what changes whenever one of a study's own files does."""
    return [(p.name, p.stat().st_mtime_ns) for p in _report_paths(folder)]


def _keep(study: Study, store: Store, attrs: dict[str, Any], prefix: str, files: Iterator[_File]) -> None:
    """Write the files that are missing, then say so in the study; remove what they replace."""
    told = {key: json.loads(value) for key, value in attrs.items() if key.startswith(prefix)}
    for file in files:
        digest = sha256(b"\0".join((prefix.encode(), file.name.encode(), file.source))).hexdigest()
        own = str(uuid.uuid5(uuid.NAMESPACE_OID, digest))
        if not (store.folder / own).is_file():
            write_atomically(store.folder / own, file.make())
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        meta = {"artifact_id": own, "filename": file.name, "mimetype": kind, "encoding": None}
        if told.get(prefix + own) != meta:
            optuna_private.set_system_attribute(study, prefix + own, json.dumps(meta))
        for key, old in told.items():
            if old and old["filename"] == file.name and key != prefix + own and _is_ours(old["artifact_id"]):
                _forget(study, key)
                store.remove(old["artifact_id"])


def _forget(study: Study, key: str) -> None:
    """Delete an attribute, for which Optuna has no call."""
    row, own = optuna_private.SystemAttributeRow, optuna_private.study_id(study)
    with database_of(study).engine.begin() as connection:
        connection.execute(delete(row).where(and_(row.study_id == own, row.key == key)))


def _is_ours(artifact_id: str) -> bool:
    return uuid.UUID(artifact_id).version == 5


def _report_paths(folder: Path) -> list[Path]:
    paths = (folder / name for name in REPORT_FILES)
    return [p for p in paths if p.is_file() and not p.is_symlink()]


def _report_files(folder: Path) -> Iterator[_File]:
    for path in _report_paths(folder):
        yield _File(path.name, path.read_bytes(), path.read_bytes)


def _trial_files(trial: FrozenTrial, spec: StudySpec) -> Iterator[_File]:
    evaluations = looks(trial)
    if not evaluations:
        return
    # A new version may draw otherwise.
    told = trial.user_attrs | {attr.EVALUATIONS: evaluations}
    source = json.dumps([version("frostline"), told, spec.score.model_dump(mode="json")]).encode()
    yield _File(f"trial-{trial.number}-curve.png", source, lambda: curve_picture(trial, spec))
    yield _File(f"trial-{trial.number}-evaluations.csv", source, lambda: _table(evaluations))


def _table(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
