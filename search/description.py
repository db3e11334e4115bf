"""What a caller of run_study describes -> the tables of a study's TOML file, with what the texts decide."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from trainers.config import PACKAGED_ENCODER, Device
from trainers.errors import InputError, describe, printable

if TYPE_CHECKING:
    from rich.console import Console

    from search.new import Chosen
    from trainers.config import DataConfig

FIXED = {
    "head_learning_rate_ratio": 10.0,
    "batch_size": 32,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "schedule": "linear",
    "encoder_dropout": 0.0,
    "head_start": "fitted",
}
SEARCHED = {
    "dropout": {"low": 0.0, "high": 0.5},
    "head_width": [32, 64, 128, 256],
    "learning_rate": {"low": 3e-5, "high": 3e-4, "log": True},
    "patience": {"low": 1, "high": 3},
}
"""As ``search.new`` wrote them at first. A study without a name is named after them, so that they stay; what a new one has instead,
``search.new.choose_settings`` says."""

TRAINED_LAYERS = 2
"""At most, where neither the caller names freeze depths nor the texts decide."""

Tables = Mapping[str, Any] | None


class Described(NamedTuple):
    """A study of data, as the caller described it.

    Attributes:
        path: Of its TOML file.
        table: What that says, with defaults for what is to be chosen.
        named: What the caller named, or the texts made plain, by table.
        messages: What was noticed in the texts.
    """

    path: Path
    table: dict[str, Any]
    named: dict[str, dict[str, Any]]
    messages: tuple[str, ...]


def check_tables(data: Any, tables: Mapping[str, Tables]) -> None:
    """Refuse a call without data, and tables that are none.

    Raises:
        InputError: It is such a call.
    """
    if data is None:
        raise InputError("run_study takes data or study, got neither; give one of them")
    for key, value in tables.items():
        if value is not None and not isinstance(value, Mapping):
            raise InputError(
                f"{key} must be a dictionary, got {type(value).__name__}; write {{'key': value}}"
            )


def described(
    data: Any,
    folder: Path,
    *,
    text: str | Sequence[str] | None,
    label: str | Sequence[str] | None,
    name: str | None,
    encoder: str | None,
    space: Tables,
    fit: Tables,
    score: Tables,
    goal: Tables,
    data_options: Tables,
    recipes: Tables,
) -> Described:
    """Return the study that the arguments of ``run_study`` describe; what is in memory is stored in the folder.

    Raises:
        InputError: Something that was given cannot be used.
    """
    from search.new import CHEAP_RECIPES

    named = {"text": text, "label": label, **(data_options or {})}
    options = {key: _as_in_toml(key, value) for key, value in named.items() if value is not None}
    stem, table = _stored(data, folder, options, is_whole=text is None or label is None)
    found, messages = _guessed(checked_data(table, folder), may_split="label_separator" not in named)
    table, options = table | found, options | found
    both = sorted({*(space or {})} & {*(fit or {})})
    if both:
        raise InputError(
            f"space and fit must have different settings, got {both[0]!r} in both; leave one out"
        )
    study = {
        "goal": dict(goal or {}),
        "score": dict(score or {}),
        "data": table,
        "encoder": {"name": _placed(encoder or PACKAGED_ENCODER)},
        "fit": _of_fits({**(fit or {}), **(space or {})}, table, folder, encoder or PACKAGED_ENCODER),
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
        # None says that there are to be none.
        "data": options | ({"folds": None} if "folds" in named and named["folds"] is None else {}),
        "recipes": dict(recipes or {}),
    }
    return Described(folder / f"{name}.toml", study, given, messages)


def _as_in_toml(key: str, value: Any) -> Any:
    """Return columns as TOML has them: a name, or a list of names."""
    if key in {"text", "label"} and not isinstance(value, str) and isinstance(value, Iterable):
        return sorted(value) if isinstance(value, Set) else list(value)
    return value


def _guessed(data: DataConfig, *, may_split: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the columns seem to hold, as ``search.new`` reads them, and what to say of it.

    Args:
        data: What the caller said.
        may_split: Whether a column may hold several labels a text.
    """
    from search.new import guess_columns

    guessed = guess_columns(data, label=may_split)
    messages = []
    if guessed.pair is not None:
        first, second = map(repr, guessed.pair)
        messages += [
            f"columns {first} and {second} are read as pairs, for their names; text={first} reads one alone"
        ]
    if guessed.labels is not None:
        other = "; data_options={'label_separator': None} reads one label a text"
        messages += [f"{guessed.labels.message}{other if guessed.labels.separator is not None else ''}"]
    return guessed.settings, tuple(messages)


def _stored(
    data: Any, folder: Path, options: dict[str, Any], *, is_whole: bool
) -> tuple[str, dict[str, Any]]:
    """Return how a study of the data is called, and its table ``[data]``; what is in memory is stored, all of it or what is named."""
    from search.frames import stored

    if isinstance(data, str | os.PathLike):
        source = checked_data({"source": os.fspath(data), **options}).source
        stem = re.sub(r"[^a-z0-9_-]+", "-", Path(source).stem.lower()).strip("-_")[:48] or "texts"
        source = os.path.relpath(source, folder) if Path(source).is_absolute() else source
        return stem, {"source": source, **options}
    if "source" in options:
        raise InputError("data_options must have no source beside data; leave it out")
    # Any further column may be needed whose name an option gives.
    named = [options[key] for key in ("text", "label", "split", "group", "id") if key in options]
    needed = [name for names in named for name in (names if isinstance(names, list) else [names])]
    source, _ = stored(data, folder, columns=() if is_whole else needed)
    if _has_splits(data):
        options["split"] = "split"
    return "texts", {"source": source, **options}


def _of_fits(
    given: Mapping[str, Any], table: Mapping[str, Any], folder: Path, encoder: str
) -> dict[str, Any]:
    """Return the table ``[fit]``; a setting that is given as None keeps the default of a fit."""
    from search.new import EVALUATIONS, PRECISION, STEPS, epochs_of

    chosen = {**FIXED, **SEARCHED, "precision": PRECISION, **given}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if "freeze_depth" not in chosen:
        layers = _num_layers(encoder)
        chosen["freeze_depth"] = {"low": max(0, layers - TRAINED_LAYERS), "high": layers}
    if "epochs" not in chosen:
        chosen["epochs"] = epochs_of(_num_training(table, folder), STEPS)
        chosen.setdefault("evaluations_per_epoch", max(1, -(-EVALUATIONS // chosen["epochs"])))
    return chosen


def chosen_settings(
    asked: Described,
    device: Device | Literal["auto"],
    console: Console | None,
    *,
    trials: int | None,
    minutes: float | None,
) -> Chosen:
    """Choose by the texts what the caller left open, as ``search.new`` does."""
    from rich.console import Console

    from search.new import choose_classes, choose_settings
    from trainers.config import TASK_METRICS
    from trainers.data import read_texts
    from trainers.fit import choose_device

    data = checked_data(asked.table["data"], asked.path.parent)
    texts = read_texts(data)
    screen = console or Console()

    def say(line: str) -> None:
        screen.print(printable(line), markup=False, highlight=False)

    for message in asked.messages:
        say(message)
    if data.task == "one_label" and data.ordered is None and data.positive is None:
        hint = choose_classes(texts, metric=None, ordered=False, positive=None).hint
        if hint is not None:
            say(f"Not in order unless data_options says so: {hint}")
    return choose_settings(
        data,
        texts,
        named=asked.named,
        metric=asked.named["score"].get("metric") or TASK_METRICS[data.task][0],
        encoder=asked.table["encoder"]["name"],
        device=choose_device(device),
        trials=trials,
        minutes=minutes,
        tell=say,
    )


def checked_data(table: Mapping[str, Any], folder: Path = Path()) -> DataConfig:
    """Return a table ``[data]`` of a file in a folder, checked.

    Raises:
        InputError: Something of it cannot be used.
    """
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

    return len(read_texts(checked_data(table, folder)).parts["train"])


def _placed(encoder: str) -> str:
    """Return a directory's absolute path, which the TOML file finds from its folder, too."""
    return os.path.abspath(encoder) if Path(encoder).is_dir() else encoder  # noqa: PTH100
