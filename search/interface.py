"""A search from Python: run_study(frame, text="review", label="stars")."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from search.result import Result
from search.run import check_request, search_study
from search.trials import check_timeout, targets_of
from trainers.cli import refuse_windows
from trainers.config import PACKAGED_ENCODER, Device
from trainers.errors import InputError, describe
from trainers.files import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

    from search.new import Chosen
    from search.study import Opened
    from search.trials import TrialTimeout

HEADING = "# Written by search.run_study, which may write it again.\n"

FIXED = {
    "head_learning_rate_ratio": 10.0,
    "batch_size": 32,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "schedule": "linear",
    "encoder_dropout": 0.0,
}
SEARCHED = {
    "dropout": {"low": 0.0, "high": 0.5},
    "head_width": [32, 64, 128, 256],
    "learning_rate": {"low": 3e-5, "high": 3e-4, "log": True},
    "patience": {"low": 1, "high": 3},
}
"""As ``search.new`` writes them."""

TRAINED_LAYERS = 2
"""At most, where neither the caller names freeze depths nor the texts decide."""

Tables = Mapping[str, Any] | None


def run_study(
    data: Any = None,
    *,
    text: str | None = None,
    label: str | Sequence[str] | None = None,
    study: str | os.PathLike[str] | None = None,
    name: str | None = None,
    folder: str | os.PathLike[str] = "studies",
    trials: int = 50,
    minutes: float | None = None,
    until_flat: float | bool | None = None,
    trial_timeout: TrialTimeout = "auto",
    encoder: str | None = None,
    space: Tables = None,
    fit: Tables = None,
    score: Tables = None,
    goal: Tables = None,
    data_options: Tables = None,
    recipes: Tables = None,
    seed: int | None = None,
    storage: str | None = None,
    workers: int | Literal["auto"] = "auto",
    device: Device | Literal["auto"] = "auto",
    confirm: int = 0,
    track: str | Sequence[str] = (),
    console: Console | None = None,
) -> Result:
    """Search, and return what was found; the same call continues.

    What is in memory is stored in the folder, by its content, and the study as a TOML file beside it: all commands know it, too.
    Ctrl-C, or the stop button of a notebook, ends the search in order; what there is by then is returned.

    Args:
        data: DataFrame of pandas or polars, ``Dataset`` or ``DatasetDict``, a dictionary of lists, a pair (texts, labels), or
            what ``[data] source`` may be: a path, a hub id, a packaged name.
        text: Column of the texts; None finds it.
        label: Column of the labels; None finds it. Several columns of 0 and 1 are labels of which a text may have several; for
            one column of them see ``label_separator`` in ``data_options``.
        study: A name in studies/ or the path of a TOML file, instead of data.
        name: Of a study of data; None takes one after the texts and settings, so that others are another study.
        folder: Where such a study and its results are kept.
        trials: Total number of finished trials.
        minutes: No trial begins after so many; None means no limit. A new study is sized to end in time, once this machine has
            been measured.
        until_flat: As ``--until-flat`` of ``search.run``.
        trial_timeout: As ``--trial-timeout``.
        encoder: ``minilm`` (packaged, the default), a local directory, or a hub id.
        space: Settings of ``[fit]`` that are searched: a list of choices, or ``{"low": ..., "high": ..., "log": ...}``. They
            stand in place of those that a new study searches.
        fit: Further settings of ``[fit]``.
        score: Settings of ``[score]``; a ceiling that is not named is chosen by the texts, once, when the study is new.
        goal: Settings of ``[goal]``; likewise.
        data_options: Further settings of ``[data]``, such as ``{"max_length": 64}``.
        recipes: Settings of ``[recipes]``.
        seed: Of a new study.
        storage: As ``--storage``.
        workers: Trials under way at once.
        device: Where to fit.
        confirm: Number of finalists to fit on fresh seeds afterwards.
        track: As ``--track``, one or several.
        console: Where progress is shown; None takes standard output, or the notebook.

    Raises:
        InputError: Something that was given cannot be used.
    """
    refuse_windows()
    from search.report import command_options, write_files

    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes must be above 0, got {minutes:g}; raise it or leave it out")
    check_timeout(trial_timeout)
    targets = targets_of([track] if isinstance(track, str) else track)
    check_request(
        trials=trials,
        timeout=None,
        until_flat=until_flat,
        seed=seed,
        workers=workers,
        confirm=confirm,
        mark="",
    )
    tables = {
        "space": space,
        "fit": fit,
        "score": score,
        "goal": goal,
        "data_options": data_options,
        "recipes": recipes,
    }
    given = {"text": text, "label": label, "name": name, "encoder": encoder, **tables}
    if study is not None:
        found = _named(os.fspath(study), data, given, storage=storage, seed=seed)
    else:
        _check_tables(data, tables)
        asked = _asked(data, Path(folder), text=text, label=label, name=name, encoder=encoder, **tables)
        choose = partial(_chosen, asked, device, console, trials=trials, minutes=minutes)
        found = _opened(asked, storage, seed, choose=choose)
    interrupted = search_study(
        found,
        trials=trials,
        timeout=None if minutes is None else 60 * minutes,
        until_flat=until_flat,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        confirm=confirm,
        track=targets,
        console=console,
    )
    path = found.path
    options = command_options(path.stem if path.parent == Path("studies") else str(path), storage)
    write_files(found.study, found.spec, found.folder, options)
    return Result(found, options=options, device=device, workers=workers, interrupted=interrupted)


class _Asked(NamedTuple):
    """A study of data, as the caller described it.

    Attributes:
        path: Of its TOML file.
        table: What that says, with defaults for what is to be chosen.
        named: What the caller named, by table.
    """

    path: Path
    table: dict[str, Any]
    named: dict[str, dict[str, Any]]


def _named(
    study: str, data: Any, given: Mapping[str, Any], *, storage: str | None, seed: int | None
) -> Opened:
    """Open the study of a TOML file, beside which nothing else may be given."""
    from search.study import open_named

    if data is not None:
        raise InputError("run_study takes data or study, got both; give one of them")
    extra = [key for key, value in given.items() if value is not None]
    if extra:
        raise InputError(
            f"a study has its own settings, got {', '.join(extra)} beside it; set them in its TOML file"
        )
    return open_named(study, storage, create=True, seed=seed, tell=lambda _: None)


def _check_tables(data: Any, tables: Mapping[str, Tables]) -> None:
    if data is None:
        raise InputError("run_study takes data or study, got neither; give one of them")
    for key, value in tables.items():
        if value is not None and not isinstance(value, Mapping):
            raise InputError(
                f"{key} must be a dictionary, got {type(value).__name__}; write {{'key': value}}"
            )


def _asked(
    data: Any,
    folder: Path,
    *,
    text: str | None,
    label: str | Sequence[str] | None,
    name: str | None,
    encoder: str | None,
    space: Tables,
    fit: Tables,
    score: Tables,
    goal: Tables,
    data_options: Tables,
    recipes: Tables,
) -> _Asked:
    from search.frames import stored
    from search.new import CHEAP_RECIPES, EVALUATIONS, HEAD_START, PRECISION, STEPS, epochs_of

    options = {
        k: v for k, v in {"text": text, "label": label, **(data_options or {})}.items() if v is not None
    }
    for key in ("text", "label"):
        if isinstance(options.get(key), tuple):
            options[key] = list(options[key])  # as TOML has it
    if isinstance(data, str | os.PathLike):
        source = _checked_data({"source": os.fspath(data), **options}).source
        stem = re.sub(r"[^a-z0-9_-]+", "-", Path(source).stem.lower()).strip("-_")[:48] or "texts"
        source = os.path.relpath(source, folder) if Path(source).is_absolute() else source
    else:
        if "source" in options:
            raise InputError("data_options must have no source beside data; leave it out")
        # Any further column may be needed whose name an option gives; without text and label, all are looked at.
        named = [options[key] for key in ("text", "label", "split", "group", "id") if key in options]
        needed = [name for names in named for name in (names if isinstance(names, list) else [names])]
        some = text is not None and label is not None
        source, _ = stored(data, folder, columns=needed if some else ())
        stem = "texts"
        if _has_splits(data):
            options["split"] = "split"
    table = {"source": source, **options}
    _checked_data(table, folder)
    both = sorted({*(space or {})} & {*(fit or {})})
    if both:
        raise InputError(
            f"space and fit must have different settings, got {both[0]!r} in both; leave one out"
        )
    chosen = {
        **FIXED,
        **SEARCHED,
        "head_start": HEAD_START,
        "precision": PRECISION,
        **(fit or {}),
        **(space or {}),
    }
    chosen = {k: v for k, v in chosen.items() if v is not None}
    if "freeze_depth" not in chosen:
        layers = _num_layers(encoder or PACKAGED_ENCODER)
        chosen["freeze_depth"] = {"low": max(0, layers - TRAINED_LAYERS), "high": layers}
    if "epochs" not in chosen:
        chosen["epochs"] = epochs_of(_num_training(table, folder), STEPS)
        chosen.setdefault("evaluations_per_epoch", max(1, -(-EVALUATIONS // chosen["epochs"])))
    study = {
        "goal": dict(goal or {}),
        "score": dict(score or {}),
        "data": table,
        "encoder": {"name": _placed(encoder or PACKAGED_ENCODER)},
        "fit": chosen,
        "recipes": dict(recipes or {"enqueue": list(CHEAP_RECIPES)}),
    }
    study = {key: value for key, value in study.items() if value}
    if name is None:
        digest = hashlib.sha256(json.dumps(study, sort_keys=True, default=str).encode()).hexdigest()
        name = f"{stem}-{digest[:8]}"
    else:
        from search.study import checked_name

        try:
            checked_name(name)
        except ValueError as error:
            raise InputError(str(error)) from None
    given = {
        "fit": {**(fit or {}), **(space or {})},
        "score": dict(score or {}),
        "goal": dict(goal or {}),
        "data": options,
        "recipes": dict(recipes or {}),
    }
    return _Asked(folder / f"{name}.toml", study, given)


def _chosen(
    asked: _Asked,
    device: Device | Literal["auto"],
    console: Console | None,
    *,
    trials: int,
    minutes: float | None,
) -> Chosen:
    """Choose by the texts what the caller left open, as ``search.new`` does."""
    from rich.console import Console

    from search.new import choose_settings
    from trainers.config import TASK_METRICS
    from trainers.data import read_texts
    from trainers.fit import choose_device

    data = _checked_data(asked.table["data"], asked.path.parent)
    say = console or Console()
    return choose_settings(
        data,
        read_texts(data),
        named=asked.named,
        metric=asked.named["score"].get("metric") or TASK_METRICS[data.task][0],
        encoder=asked.table["encoder"]["name"],
        device=choose_device(device),
        trials=trials,
        minutes=minutes,
        tell=lambda line: say.print(line, markup=False, highlight=False),
    )


def _checked_data(table: Mapping[str, Any], folder: Path = Path()) -> Any:
    from pydantic import ValidationError

    from trainers.config import DataConfig

    try:
        return DataConfig.model_validate(table, context={"folder": folder})
    except ValidationError as error:
        raise InputError(describe(error, valid_keys=lambda _: DataConfig.model_fields)) from error


def _has_splits(data: Any) -> bool:
    return type(data).__name__ == "DatasetDict" and len(data) > 1


def _num_layers(encoder: str) -> int:
    from trainers.config import EncoderConfig
    from trainers.encoder import load_encoder

    return load_encoder(EncoderConfig(name=encoder)).num_layers


def _num_training(table: Mapping[str, Any], folder: Path) -> int:
    from trainers.data import read_texts

    return len(read_texts(_checked_data(table, folder)).parts["train"])


def _placed(encoder: str) -> str:
    """Return a directory's absolute path, which the TOML file finds from its folder, too."""
    return os.path.abspath(encoder) if Path(encoder).is_dir() else encoder  # noqa: PTH100


def _opened(asked: _Asked, storage: str | None, seed: int | None, *, choose: Callable[[], Chosen]) -> Opened:
    """Open the study, then write its TOML file, so that one which is refused leaves the file as it was.

    What is chosen by the texts is chosen once: a study that has trials goes on with that, or with the defaults that it was
    begun with.
    """
    from search.new import unnamed
    from search.storage import chosen_url
    from search.study import Opened, attributes as attr, begun_with, open_study, spec_of, study_toml

    path, table = asked.path, asked.table
    spec = spec_of({"name": path.stem, **table}, path)
    _check_file(path, table)
    url = chosen_url(storage)
    before = open_study(spec, path, storage_url=url, create=True, compare=False)
    is_begun = bool(before.get_trials(deepcopy=False))
    chosen = before.user_attrs.get(attr.CHOSEN, {}) if is_begun else choose()
    for key, settings in unnamed(chosen, asked.named).items():
        table = {**table, key: {**table.get(key, {}), **settings}}
    spec = spec_of({"name": path.stem, **table}, path)
    opened = open_study(spec, path, storage_url=url, create=True)
    if not is_begun:
        opened.set_user_attr(attr.CHOSEN, chosen)
    spec = begun_with(opened, spec, seed=seed)
    write_atomically(path, f"{HEADING}{study_toml(table)}".encode())
    return Opened(opened, spec, path)


def _check_file(path: Path, table: Mapping[str, Any]) -> None:
    """Refuse to write over a file that is the user's own, or that is about other texts."""
    if not path.exists():
        return
    before = path.read_text(encoding="utf-8")
    if not before.startswith(HEADING):
        raise InputError(
            f"{path} is there already and was not written by run_study; search it with study={str(path)!r}, or give "
            "another name"
        )
    known = re.search(r"texts/([0-9a-f]{64})\.parquet", before)
    now = re.search(r"texts/([0-9a-f]{64})\.parquet", str(table["data"]["source"]))
    if known and now and known[1] != now[1]:
        raise InputError(
            f"study {path.stem!r} was begun with texts of SHA-256 {known[1][:12]}, got {now[1][:12]}: the data have "
            "changed; restore them, or give another name"
        )
