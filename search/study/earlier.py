"""Earlier studies, to start from what was good in them: found, compared by their texts, only ever read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from search.storage import driver_words, optuna_private
from search.study import attributes as attr
from search.study.results import complete, is_feasible
from search.study.spec import is_name
from trainers.errors import InputError, nearest

SETUPS_EACH = 2
"""Best setups that are taken of an earlier study."""

NEAREST = 2
"""Studies that ``auto`` takes."""

TIMEOUT_SECONDS = 10
"""How long a database that another search is writing to is waited for."""

UNREADABLE = (SQLAlchemyError, StorageInternalError, OSError, ValueError, KeyError, TypeError)
"""Errors of a file that is no database, is no study's, or stays locked."""

UNITS = {"classes": 2.0, "texts": 4.0, "length": 2.0, "share_cut": 0.25}
"""What counts as one step apart: a factor, of the share that is cut a difference. Chosen by hand, not measured."""


@dataclass(frozen=True)
class Earlier:
    """A study in whose trials a new one may find its first setups.

    Attributes:
        name: Of the study.
        attributes: Its user attributes; none of a database that cannot be read.
        file: Its own database beside the new study's; None where it lies in the new study's database.
        trouble: Why the database cannot be read, in words; None if it can be.
    """

    name: str
    attributes: dict[str, Any]
    file: Path | None
    trouble: str | None = None


def find_earlier(study: Study, folder: Path) -> list[Earlier]:
    """List the other studies in a study's database, and in the folder where its TOML file lies.

    Args:
        study: Is not among them.
        folder: Each study in it has a folder of its own name with ``study.db``; links are left alone.
    """
    found = {}
    for file in sorted(folder.glob("*/study.db")):
        if file.is_symlink() or file.parent.is_symlink() or file.parent.name == study.study_name:
            continue
        try:
            with _read_only(file) as storage:
                found.update({e.name: e for e in _studies_of(storage, file)})
        except UNREADABLE as error:
            found[file.parent.name] = Earlier(file.parent.name, {}, file, trouble=driver_words(error))
    found.update({e.name: e for e in _studies_of(optuna_private.storage_of(study), None)})
    found.pop(study.study_name, None)
    return [found[name] for name in sorted(found)]


def check_names(names: Sequence[str], earlier: Sequence[Earlier], folder: Path) -> None:
    """Make sure that the studies which the user names are there.

    Raises:
        InputError: One of them is not, or cannot be read.
    """
    known = {e.name: e for e in earlier}
    for name in names:
        if name not in known:
            others = f"give one of {', '.join(known)}, or leave it out" if known else "leave it out"
            raise InputError(
                f"start.like must name studies that have {folder.absolute() / 'NAME' / 'study.db'} or stand in this study's "
                f"database, got {name!r}{nearest(name, known)}; {others}"
            )
        if known[name].trouble is not None:
            raise InputError(
                f"start.like: the database of study {name!r} must be readable, got {known[name].file}: "
                f"{known[name].trouble}; continue that search to its end, or leave the name out"
            )


def check_encoder(names: Sequence[str], earlier: Sequence[Earlier], *, sha256: str) -> None:
    """Make sure that the studies which the user names had the encoder of this one.

    Raises:
        InputError: One of them had another one.
    """
    for name in names:
        before = next(e for e in earlier if e.name == name).attributes.get(attr.ENCODER_SHA256)
        if before != sha256:
            raise InputError(
                f"start.like: study {name!r} must have this study's encoder, of SHA-256 {sha256[:12]}..., got "
                f"{f'{before[:12]}...' if before else 'none'}; leave it out, or take the same encoder"
            )


def trials_of(earlier: Earlier, study: Study) -> list[FrozenTrial] | None:
    """Read the trials of an earlier study; None where its database cannot be read now.

    Args:
        earlier: As ``find_earlier`` found it.
        study: The one that starts from it.
    """
    try:
        if earlier.file is None:
            return _trials_of(optuna_private.storage_of(study), earlier.name)
        with _read_only(earlier.file) as storage:
            return _trials_of(storage, earlier.name)
    except UNREADABLE:
        return None


def best_of(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of the highest values under the ceiling, recipes left out."""
    good = [t for t in complete(trials) if is_feasible(t) and attr.RECIPE not in t.user_attrs]
    return sorted(good, key=lambda t: (-(t.value or 0.0), t.number))[:SETUPS_EACH]


def has_ended(trials: Sequence[FrozenTrial]) -> bool:
    """Tell whether no trial runs, or was left running by a search that was killed."""
    return not any(t.state == TrialState.RUNNING for t in trials)


def distance(first: dict[str, Any] | None, second: dict[str, Any] | None) -> float:
    """Return how unlike the texts of two studies are: the root mean square of the steps between their data pages.

    What one of the pages lacks is left out; infinite if they have nothing in common.
    """
    one, other = _traits(first or {}), _traits(second or {})
    steps = [
        (one[key] - other[key]) / (math.log(unit) if unit > 1 else unit)
        for key, unit in UNITS.items()
        if key in one and key in other
    ]
    return math.sqrt(sum(step * step for step in steps) / len(steps)) if steps else math.inf


def _traits(data: dict[str, Any]) -> dict[str, float]:
    """Return what texts are compared by, counts and lengths as logarithms."""
    traits = {}
    texts = data.get("train")
    if data.get("class_names"):
        traits["classes"] = math.log(len(data["class_names"]))
    if texts:
        traits["texts"] = math.log(texts)
        if data.get("tokens", {}).get("train"):
            traits["length"] = math.log(data["tokens"]["train"] / texts)
        if "train" in data.get("texts_cut", {}):
            traits["share_cut"] = data["texts_cut"]["train"] / texts
    return traits


@contextmanager
def _read_only(file: Path) -> Iterator[BaseStorage]:
    """Open a database that SQLite must not write to, whatever is asked of it."""
    place = URL.create("sqlite", database=f"file:{quote(str(file))}", query={"mode": "ro", "uri": "true"})
    storage = RDBStorage(
        str(place),
        engine_kwargs={"connect_args": {"timeout": TIMEOUT_SECONDS}},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _studies_of(storage: BaseStorage, file: Path | None) -> Iterator[Earlier]:
    """Yield the searches in a database; neither the fronts that the dashboard draws nor what others keep there."""
    for found in storage.get_all_studies():
        if attr.SPEC in found.user_attrs and is_name(found.study_name):
            yield Earlier(found.study_name, found.user_attrs, file)


def _trials_of(storage: BaseStorage, name: str) -> list[FrozenTrial]:
    return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)
