"""A study's TOML file -> StudySpec; every mistake in it is reported here, all at once."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, cast

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from search.recipes import RECIPES
from trainers.config import DataConfig, EncoderConfig, Metric, Table, TrainConfig, read_toml, table_keys
from trainers.errors import InputError, describe, nearest

SEARCHED = ("freeze_depth", "dropout", "head_width", "learning_rate", "patience")
"""The five dimensions that every study searches; any other fit setting may be opened the same way."""

FIT_KEYS = tuple(
    k
    for k in TrainConfig.model_fields
    if k not in {"data", "encoder", "metric", "ceiling", "thaw", "seed", "device"}
)

SINGLE = ("precision",)
"""Settings that the stored features depend on; they cannot be searched."""

Scalar = bool | int | float | str

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Range(Table):
    """A range of numbers, both ends included."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got low = {self.low}, high = {self.high}; swap them")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must start above 0, got low = {self.low}; raise it")
        return self


class Goal(Table):
    """What the user wants: at least this validation accuracy, by the study's metric, under the ceiling."""

    validation_accuracy: float = Field(default=0.85, ge=0, le=1)


class Score(Table):
    """value = validation accuracy - penalty * max(0, training accuracy - ceiling), both by the metric."""

    metric: Metric = "accuracy"
    ceiling: float = Field(default=0.92, gt=0, le=1)
    penalty: float = Field(default=1.0, ge=0)


class Pruning(Table):
    """Rungs at which a trial must keep up with its feasible peers.

    Attributes:
        rungs: Ages in epochs, fractions allowed; empty turns pruning off. Where no full evaluation is
            due, a cheap peek is taken. One at which a fit ends anyway does not prune it.
        keep: A trial goes on if it ranks in this share of the feasible trials seen at the rung.
        peers: Feasible peers a rung must have seen before it prunes.
        margin: Standard errors of the difference, on the same texts, by which the last peer that goes on must
            be better than a trial that is ended; 0 ends it by any difference.
    """

    rungs: tuple[float, ...] = (0.25, 0.5, 1.0)
    keep: float = Field(default=0.34, gt=0, le=1)
    peers: int = Field(default=2, ge=1)
    margin: float = Field(default=3.0, ge=0)

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if any(r <= 0 for r in rungs) or list(rungs) != sorted(set(rungs)):
            raise ValueError("rungs must be positive and ascending; sort them and drop repeats")
        return rungs


class Cache(Table):
    """Where features are stored and how much disk they may take.

    The last bits of a fit may depend on what there is room for: what is not stored is computed in other batches.
    """

    directory: Path | None = None
    disk_gib: float = Field(default=8.0, gt=0)


class Recipes(Table):
    """Known recipes that run before the search, and how many epochs each is given at most."""

    enqueue: tuple[str, ...] = ("frozen-head", "thaw-top")
    epochs: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.enqueue, *self.epochs):
            if name not in RECIPES:
                hint = nearest(name, RECIPES)
                raise ValueError(f"recipes are {', '.join(RECIPES)}; got {name!r}{hint}")
        return self


class StudySpec(Table):
    """One study: data, encoder, search space, score, pruning.

    Attributes:
        name: Of the Optuna study and of the folder with its results.
        seed: The sampler's; each trial's own seed is derived from it and the trial's number.
        fit: Settings of the fit: a scalar is fixed, a list gives choices, a ``Range`` is a range.
    """

    name: str
    seed: int = Field(default=0, ge=0)
    goal: Goal = Goal()
    score: Score = Score()
    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    fit: dict[str, Scalar | list[Scalar] | Range]
    pruning: Pruning = Pruning()
    recipes: Recipes = Recipes()
    cache: Cache = Cache()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("fit", mode="before")
    @classmethod
    def _checked_fit(cls, fit: Any) -> Any:
        if not isinstance(fit, dict):
            return fit
        settings: dict[str, Any] = {}
        mistakes = list(_unknown_or_missing(fit))
        for key in [k for k in fit if k in FIT_KEYS]:
            try:
                settings[key] = _checked_setting(key, fit[key])
            except ValidationError as error:
                mistakes += [
                    _line(m["type"], (key, *m["loc"][m["loc"][:1] == (key,) :]), m) for m in error.errors()
                ]
        if mistakes:
            raise ValidationError.from_exception_data("fit", mistakes)
        return settings

    def train_config(self, settings: dict[str, Any], *, seed: int) -> TrainConfig:
        """Build the configuration of one fit from chosen fit settings."""
        fit = {**self.score.model_dump(include={"metric", "ceiling"}), **settings, "seed": seed}
        return TrainConfig.model_validate({"data": self.data, "encoder": self.encoder, **fit})

    def any_config(self) -> TrainConfig:
        """Return the configuration of one point of the space, to read what is the same at all of them."""
        return self.train_config(next(_corners(self.fit)), seed=self.seed)

    def heaviest_config(self) -> TrainConfig:
        """Return the configuration of a fit that takes most memory: of the lowest freeze depth and the largest batch."""
        config = self.any_config()
        batch = self.fit.get("batch_size", config.batch_size)
        sizes = [batch.high] if isinstance(batch, Range) else batch if isinstance(batch, list) else [batch]
        changes = {"freeze_depth": min(self.depths()), "batch_size": max(int(size) for size in sizes)}
        return config.model_copy(update=changes)

    def depths(self) -> tuple[int, ...]:
        """List every freeze depth that the space asks for, ascending."""
        chosen = self.fit["freeze_depth"]
        if isinstance(chosen, Range):
            own = set(range(int(chosen.low), int(chosen.high) + 1))
        else:
            own = {int(c) for c in (chosen if isinstance(chosen, list) else [chosen])}
        return tuple(sorted(own))


def checked_name(name: str) -> str:
    """Return ``name`` if it is a plain study name, which cannot leave the folder of studies.

    Raises:
        ValueError: It is not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a study's name has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or "
            f"digit, got {name!r}; rename it"
        )
    return name


def load_spec(path: Path) -> StudySpec:
    """Read a study; its name is the file's unless the file says otherwise.

    Raises:
        InputError: Every mistake in the file, in one message.
    """
    table = {"name": path.stem, **read_toml(path)}
    if "fit" not in table and not {*FIT_KEYS}.isdisjoint(table):
        raise InputError(
            f"{path} must be a study, which has a table [fit], got the configuration of one fit; fit it: "
            f"python -m trainers.train {shlex.quote(str(path))}"
        )
    try:
        return StudySpec.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, valid_keys=_keys_of_table)}") from error


def find_study(study: str) -> Path:
    """Turn what ``--study`` was given, a TOML file or a name in ``studies/``, into the path of a TOML file.

    Raises:
        InputError: There is no such study.
    """
    path = Path(study)
    if path.suffix == ".toml":
        if not os.path.isfile(path):  # noqa: PTH113 - pathlib raises where a name is too long
            raise InputError(f"no study file {path}; give an existing TOML file or a name from studies/")
        return path
    try:
        named = Path("studies") / f"{checked_name(study)}.toml"
    except ValueError as error:
        raise InputError(f"--study: {error}, or give the path of a TOML file") from None
    if not named.is_file():
        present = sorted(p.stem for p in Path("studies").glob("*.toml"))
        known = f"one of {', '.join(present)}" if present else "the path of a TOML file"
        raise InputError(f"no study {study!r} in studies/{nearest(study, present)}; give {known}")
    return named


def _unknown_or_missing(fit: dict[str, Any]) -> Iterator[InitErrorDetails]:
    for key in fit:
        if key not in FIT_KEYS:
            yield InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
    for key in SEARCHED:
        if key not in fit:
            yield InitErrorDetails(type="missing", loc=(key,), input=None)


def _checked_setting(key: str, setting: Any) -> Scalar | list[Scalar] | Range:
    """Turn a table into a range, and check whatever the setting may take in a fit.

    Raises:
        ValidationError: The setting is none, or its values cannot be used.
    """
    checked = Range.model_validate(setting) if isinstance(setting, dict) else setting
    values = [checked.low, checked.high] if isinstance(checked, Range) else checked
    if key in SINGLE and isinstance(setting, dict | list):
        single = PydanticCustomError("single", "must be one value, the same for all trials; choose one")
        raise ValidationError.from_exception_data(key, [InitErrorDetails(type=single, input=setting)])
    if values == []:
        empty = PydanticCustomError("empty", "must list at least one choice; add one")
        raise ValidationError.from_exception_data(key, [InitErrorDetails(type=empty, input=setting)])
    blank = cast(Any, TrainConfig).model_construct()
    for value in values if isinstance(values, list) else [values]:
        TrainConfig.__pydantic_validator__.validate_assignment(blank, key, value)
    return checked


def _line(kind: str, place: tuple[int | str, ...], mistake: Any) -> InitErrorDetails:
    """Repeat a mistake of a setting at its place in the study."""
    if kind in {"extra_forbidden", "missing"}:
        return InitErrorDetails(type=kind, loc=place, input=mistake["input"])
    words = PydanticCustomError("setting", "{words}", {"words": mistake["msg"].removeprefix("Value error, ")})
    return InitErrorDetails(type=words, loc=place, input=mistake["input"])


def _corners(fit: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield settings in which every scalar, choice and end of a range occurs at least once."""
    ends = {
        k: v if isinstance(v, list) else [v.low, v.high] if isinstance(v, Range) else [v]
        for k, v in fit.items()
    }
    for turn in range(max(len(e) for e in ends.values())):
        yield {k: e[min(turn, len(e) - 1)] for k, e in ends.items()}


def _keys_of_table(path: tuple[str, ...]) -> Iterable[str]:
    if path[:1] == ("fit",):
        return Range.model_fields if path[1:] else FIT_KEYS
    return table_keys(StudySpec, path)
