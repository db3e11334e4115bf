"""Where a study lives: opened, checked against its TOML file, mended after a killed search."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from search.storage import Mirror, chosen_url, connect, driver_words, redacted
from search.study import attributes as attr
from search.study.files import find_study
from search.study.spec import Recipes, StudySpec, load_spec
from search.terminal import say
from trainers.config import DataConfig
from trainers.errors import InputError

FREE_TO_CHANGE = ("seed", "goal", "sampler", "cache", "recipes", "start")
"""Parts of a study's TOML file that may change: no trial that has ended would end otherwise, but for last bits
where the cache's budget stores other depths; of the seed, what the study was begun with stays in force."""

PLACES = (("data", "source"), ("data", "validation_source"), ("data", "test_source"))
"""Files may be moved, too. Whether they hold the same texts is told by their fingerprint."""


def results_dir(path: Path, spec: StudySpec) -> Path:
    """Return the folder of a study's results: beside its TOML file, under the study's name."""
    return path.parent / spec.name


class Opened(NamedTuple):
    """A study that a command works on.

    Attributes:
        study: In its database.
        spec: What is in force: of the TOML file, and of what the study was begun with.
        path: Of the TOML file.
    """

    study: optuna.Study
    spec: StudySpec
    path: Path

    @property
    def folder(self) -> Path:
        """Where its results are."""
        return results_dir(self.path, self.spec)


def open_named(
    name: str,
    storage: str | None,
    *,
    create: bool = False,
    seed: int | None = None,
    tell: Callable[[str], object] = say,
) -> Opened:
    """Open the study that a command names.

    Args:
        name: What ``--study`` says: a name in studies/, or the path of a TOML file.
        storage: What ``--storage`` says.
        create: As for ``open_study``.
        seed: As for ``begun_with``.
        tell: As for ``begun_with``.

    Raises:
        InputError: As ``find_study``, ``load_spec``, ``open_study`` and ``begun_with`` do.
    """
    path = find_study(name, create=create)
    spec = load_spec(path)
    study = open_study(spec, path, storage_url=chosen_url(storage), create=create)
    return Opened(study, begun_with(study, spec, seed=seed, tell=tell), path)


def open_study(
    spec: StudySpec,
    path: Path,
    *,
    storage_url: str | None = None,
    create: bool = False,
    compare: bool = True,
) -> optuna.Study:
    """Open the study of a TOML file, or create it.

    Args:
        spec: What the TOML file says now; to be searched, it must agree with what the study was begun with.
        path: Of the TOML file.
        storage_url: Database; None takes SQLite in the study's folder.
        create: Whether it is to be searched: created, if it does not exist.
        compare: Whether ``spec`` is held against what the study was begun with; a study that is then new has none yet.

    Raises:
        InputError: The storage cannot be used, the study does not exist, or it is to be searched and has another space.
    """
    folder = results_dir(path, spec)
    _refuse_links(folder)
    command = shlex.join(["python", "-m", "search.run", "--study", str(path)])
    place: str | URL | None = storage_url
    if place is None:
        database = folder / "study.db"
        if not create and not database.is_file():
            raise InputError(f"study {spec.name!r} has no trials yet ({database} is missing); run: {command}")
        _make_folder(folder)
        place = URL.create(
            "sqlite", database=str(database)
        )  # of its parts: in a string ? # and % would mean something
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = Mirror(connect(place))
        if create:
            study = optuna.create_study(
                storage=storage, study_name=spec.name, direction="maximize", load_if_exists=True
            )
        else:
            study = optuna.load_study(storage=storage, study_name=spec.name)
        if compare:
            _check_same_spec(study, spec, path, to_search=create)
    except KeyError:
        raise InputError(
            f"no study {spec.name!r} in {redacted(place)}; run: {command} --storage URL"
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise InputError(
            f"the study's database must be readable and writable, got {redacted(place)}: "
            f"{driver_words(error)}; check that it is up, its disk and permissions, or give another "
            "--storage"
        ) from error
    return study


def check_same_encoder(study: optuna.Study, spec: StudySpec, sha256: str) -> None:
    """Compare the encoder's fingerprint with that of the encoder which the study's trials were fitted with.

    Raises:
        InputError: It differs: the files have been changed, exchanged or damaged since.
    """
    before = study.user_attrs.get(attr.ENCODER_SHA256, sha256)
    if before != sha256 and study.get_trials(deepcopy=False):
        raise InputError(
            f"study {spec.name!r} was begun with an encoder {spec.encoder.name!r} of SHA-256 {before}, now it is "
            f"{sha256}: its files have been changed or damaged; restore them, or set another name in the TOML file "
            "to begin a new study"
        )


def begun_with(
    study: optuna.Study,
    spec: StudySpec,
    *,
    seed: int | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> StudySpec:
    """Return ``spec`` with the seed that the study was begun with, and with its recipes if the TOML file names none.

    Where the TOML file has other settings by now, those that the study was begun with stay in force: its trials were made
    with them.

    Args:
        study: New or not; a new one takes ``seed``.
        spec: From the TOML file.
        seed: What the user asked for; None asks for nothing.
        tell: Gets a sentence where the TOML file has other settings.

    Raises:
        InputError: The user asked for another seed than the study's.
    """
    begun: int = study.user_attrs[attr.SPEC]["seed"]
    if seed is not None and seed != begun:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"study {spec.name!r} was begun with seed {begun}, got --seed {seed}; leave --seed out, or set "
                "another name in the TOML file to begin a new study"
            )
        begun = seed
        study.set_user_attr(attr.SPEC, {**study.user_attrs[attr.SPEC], "seed": seed})
    before, now, different = _compared(study, spec)
    if different:
        tell(f"note: {_difference(study, spec)}; shown is what it was begun with")
        fixed = {key: value for key, value in before.items() if key not in FREE_TO_CHANGE}
        free = {key: value for key, value in now.items() if key in FREE_TO_CHANGE}
        moved = {place[1]: _at(now, place) for place in PLACES if place not in different}
        data = {**before["data"], **moved}
        spec = type(spec).model_validate({**fixed, **free, "data": data})
    return spec.model_copy(
        update={"seed": begun, "recipes": _begun_recipes(spec, study.user_attrs[attr.SPEC])}
    )


def _begun_recipes(spec: StudySpec, begun: dict[str, Any]) -> Recipes:
    enqueue = begun.get("recipes", {}).get("enqueue")
    if enqueue is None or "enqueue" in spec.recipes.model_fields_set:
        return spec.recipes
    return spec.recipes.model_copy(update={"enqueue": tuple(enqueue)})


def begun_data(study: optuna.Study, spec: StudySpec) -> DataConfig:
    """Return the data of ``spec``, bound to what the study has been fitted on, if it has been.

    That is the texts, and what was cut out of them unless the TOML file says it.
    """
    fingerprint = study.user_attrs.get(attr.DATA, {}).get("fingerprint")
    if all(t.state == TrialState.WAITING for t in study.get_trials(deepcopy=False)):
        fingerprint = None
    clean = study.user_attrs.get(attr.SPEC, {}).get("data", {}).get("clean", spec.data.clean)
    return spec.data.model_copy(update={"fingerprint": fingerprint or spec.data.fingerprint, "clean": clean})


def _refuse_links(folder: Path) -> None:
    """Keep a study's results beside its TOML file: a link that came with it would lead them elsewhere."""
    for link in (folder, folder / "study.db"):
        if link.is_symlink():
            raise InputError(
                f"the study's folder must lie beside its TOML file, but {link} is a link to {link.readlink()}; "
                "remove the link, or put the TOML file where you want the results"
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"the study's folder {folder} must be writable, got: {error.strerror}; change its permissions, free "
            "space, or put the study's TOML file elsewhere"
        ) from error


def _check_same_spec(study: optuna.Study, spec: StudySpec, path: Path, *, to_search: bool) -> None:
    """Compare with the spec that the study was begun with; a new study takes this one."""
    begun = study.user_attrs.get(attr.SPEC)
    trials = study.get_trials(deepcopy=False)
    if begun is None or not trials:
        if trials:
            raise InputError(
                f"study {spec.name!r} in this database was not made by this project; give {path} another name"
            )
        study.set_user_attr(attr.SPEC, spec.model_dump(mode="json"))
        return
    before, now, different = _compared(study, spec)
    if not different:
        now["recipes"] = _begun_recipes(spec, begun).model_dump(mode="json")
        study.set_user_attr(attr.SPEC, {**now, "seed": before["seed"]})
    elif to_search:
        raise InputError(
            f"{_difference(study, spec)}; restore it, or set another name in {path} to begin a new study"
        )


def _compared(
    study: optuna.Study, spec: StudySpec
) -> tuple[dict[str, Any], dict[str, Any], list[tuple[str, ...]]]:
    """Return what the study was begun with, what the TOML file says now, and the settings that must not differ and do."""
    begun, now = copy.deepcopy(study.user_attrs[attr.SPEC]), spec.model_dump(mode="json")
    begun["data"].setdefault("clean", "0.1")  # a study that was begun before there was this key
    if "clean" not in spec.data.model_fields_set:
        now["data"]["clean"] = begun["data"]["clean"]
    # Settings that are newer than the study have their defaults.
    before = type(spec).model_validate(begun).model_dump(mode="json")
    different = [
        key
        for key in _leaves(before, now)
        if key[0] not in FREE_TO_CHANGE
        and _at(before, key) != _at(now, key)
        and not (key in PLACES and all(Path(str(_at(table, key))).is_absolute() for table in (before, now)))
    ]
    return before, now, different


def _difference(study: optuna.Study, spec: StudySpec) -> str:
    """Say in which setting a TOML file differs from what the study was begun with."""
    before, now, (key, *more) = _compared(study, spec)
    return (
        f"study {spec.name!r} was begun with {'.'.join(key)} = {_at(before, key)}, now it is {_at(now, key)}"
        f"{f' (and {len(more)} more)' if more else ''}"
    )


def _leaves(*tables: dict[str, Any]) -> list[tuple[str, ...]]:
    """List the settings of specs: top-level scalars, and the entries of their tables."""
    keys = {
        (outer, inner) if isinstance(value, dict) else (outer,)
        for table in tables
        for outer, value in table.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    return sorted(keys)


def _at(table: dict[str, Any], key: tuple[str, ...]) -> Any:
    value: Any = table
    for part in key:
        value = value.get(part) if isinstance(value, dict) else None
    return value
