"""A study's TOML file -> StudySpec; every mistake in it is reported here, all at once."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from search.study.recipes import RECIPES
from trainers.config import (
    TASK_METRICS,
    DataConfig,
    EncoderConfig,
    Metric,
    Table,
    TrainConfig,
    check_metric,
    read_toml,
    table_keys,
    task_of,
)
from trainers.errors import InputError, describe, nearest

SEARCHED = ("freeze_depth", "dropout", "head_width", "learning_rate", "patience")
"""The five dimensions that every study searches; any other fit setting may be opened the same way."""

FIT_KEYS = tuple(
    k
    for k in TrainConfig.model_fields
    if k not in {"data", "encoder", "metric", "ceiling", "thaw", "seed", "device", "stop_at"}
)

SINGLE = ("precision",)
"""Settings that the stored features depend on; they cannot be searched."""

TABLES = ("class_weights",)
"""Settings whose value may be a table, which is no range then."""

Scalar = bool | int | float | str
Weights = dict[str, float]
"""Of the classes. A class may well be called low or high, as the ends of a range are."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


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


class Sampler(Table):
    """Who proposes setups.

    Attributes:
        kind: ``tpe`` learns from the trials that have ended; ``random`` and ``sobol`` learn nothing, and take the same time for
            each trial. Sobol's points fill the space more evenly.
        history: For TPE: how many trials it learns from at most, the best ones and of the others the latest. None means
            all; a draw then takes the longer the more there are.
    """

    kind: Literal["tpe", "random", "sobol"] = "tpe"
    history: int | None = Field(default=None, ge=50)

    @model_validator(mode="after")
    def _history_is_learnt_from(self) -> Self:
        if self.history is not None and self.kind != "tpe":
            raise ValueError(
                f'history must be absent unless kind = "tpe": {self.kind} learns from no trial, got {self.history}; take it out'
            )
        return self

    @property
    def learns(self) -> bool:
        """Whether the results of earlier trials decide what is proposed."""
        return self.kind == "tpe"


class Cache(Table):
    """Where features are stored and how much disk they may take.

    The last bits of a fit may depend on what there is room for: what is not stored is computed in other batches.
    """

    directory: Path | None = None
    disk_gib: float = Field(default=8.0, gt=0)


class Recipes(Table):
    """Known recipes that run before the search, and how many epochs each is given at most.

    Where the TOML file names none, a study goes on with those that it was begun with.
    """

    enqueue: tuple[str, ...] = ("probe", "frozen-head", "thaw-top")
    epochs: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.enqueue, *self.epochs):
            if name not in RECIPES:
                hint = nearest(name, RECIPES)
                raise ValueError(f"recipes are {', '.join(RECIPES)}; got {name!r}{hint}")
        return self


class Start(Table):
    """Setups that are tried first, after the recipes; settings that one leaves out are the sampler's to choose.

    Attributes:
        setups: The user's own, inside the space.
        portfolio: Whether to try the setups that were good on most of the project's tables.
        like: Studies whose best setups are tried: names, or ``auto`` for the nearest; absent means none.
    """

    setups: tuple[dict[str, Scalar], ...] = ()
    portfolio: bool = False
    like: Literal["auto"] | tuple[str, ...] | None = None

    @field_validator("like", mode="before")
    @classmethod
    def _names_studies(cls, like: Any) -> Any:
        if like is None or like == "auto":
            return like
        if not isinstance(like, list | tuple) or not like or not all(isinstance(name, str) for name in like):
            raise ValueError(
                f'must be "auto" or a list of studies, got {like!r}; write like = ["NAME"], or leave it out'
            )
        return tuple(checked_name(name) for name in like)


class StudySpec(Table):
    """One study: data, encoder, search space, score, pruning.

    Attributes:
        name: Of the Optuna study and of the folder with its results.
        seed: The sampler's; each trial's own seed is derived from it and the trial's number.
        fit: Settings of the fit: a scalar is fixed, a list gives choices, a ``Range`` is a range.
    """

    ADDED: ClassVar[frozenset[str]] = frozenset({"sampler"})

    name: str
    seed: int = Field(default=0, ge=0)
    goal: Goal = Goal()
    score: Score = Score()
    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    fit: dict[str, Scalar | list[Scalar] | Annotated[Weights | Range, Field(union_mode="left_to_right")]]
    sampler: Sampler = Sampler()
    pruning: Pruning = Pruning()
    recipes: Recipes = Recipes()
    start: Start = Start()
    cache: Cache = Cache()

    @model_validator(mode="before")
    @classmethod
    def _default_metric(cls, table: Any) -> Any:
        if not isinstance(table, dict) or task_of(table.get("data")) == "one_label":
            return table
        score = table.get("score", {})
        if not isinstance(score, dict):
            return table
        return {**table, "score": {"metric": TASK_METRICS["several_labels"][0], **score}}

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

    @field_validator("start", mode="before")
    @classmethod
    def _checked_start(cls, start: Any, known: ValidationInfo) -> Any:
        if not isinstance(start, dict):
            return start
        setups, fit = start.get("setups", ()), known.data.get("fit")  # a space with mistakes is not there
        mistakes: list[InitErrorDetails] = []
        if fit is not None and isinstance(setups, list | tuple):
            for place, setup in enumerate(setups):
                found = _mistakes_in_setup(setup, fit)
                mistakes += [{**m, "loc": ("setups", place, *m["loc"])} for m in found]
        try:
            Start.model_validate({**start, "setups": ()} if mistakes else start)
        except ValidationError as error:
            mistakes += [_line(m["type"], m["loc"], m) for m in error.errors()]
        if isinstance(start.get("like"), list | tuple) and known.data.get("name") in start["like"]:
            own = "must name other studies, got this study's own name; take it out"
            mistakes.append(_said(("like",), own, start["like"]))
        if mistakes:
            raise ValidationError.from_exception_data("start", mistakes)
        return start

    @model_validator(mode="after")
    def _metric_fits(self) -> Self:
        try:
            check_metric(self.score.metric, self.data)
        except ValueError as error:
            raise ValueError(f"score.{error}") from None
        return self

    @model_validator(mode="after")
    def _probes_are_linear(self) -> Self:
        starts, widths, epochs = map(self._ends, ("head_start", "head_width", "epochs"))
        if "probe" in starts and set(widths) != {0}:
            raise ValueError(
                'fit.head_start = "probe" is for heads without a hidden layer: fit.head_width must be 0 alone, got '
                f'{", ".join(map(str, widths))}; set it, or take "probe" out'
            )
        if 0 in epochs and set(starts) != {"probe"}:
            raise ValueError(
                'fit.epochs must be at least 1 unless fit.head_start is "probe" alone, got 0; raise it'
            )
        return self

    def _ends(self, key: str) -> list[Any]:
        """Return the choices of a setting, or the ends of its range."""
        setting = self.fit.get(key, TrainConfig.model_fields[key].default)
        if isinstance(setting, Range):
            return [setting.low, setting.high]
        return setting if isinstance(setting, list) else [setting]

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
        batch: Any = self.fit.get("batch_size", config.batch_size)
        sizes = [batch.high] if isinstance(batch, Range) else batch if isinstance(batch, list) else [batch]
        changes = {"freeze_depth": min(self.depths()), "batch_size": max(int(size) for size in sizes)}
        return config.model_copy(update=changes)

    def starts_from_vectors(self) -> bool:
        """Tell whether some fit's head begins from the vectors of the untouched encoder."""
        return set(self._ends("head_start")) != {"random"}

    def depths(self) -> tuple[int, ...]:
        """List every freeze depth that the space asks for, ascending."""
        chosen: Any = self.fit["freeze_depth"]
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
    if not is_name(name):
        raise ValueError(
            f"a study's name has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or "
            f"digit, got {name!r}; rename it"
        )
    return name


def is_name(name: str) -> bool:
    """Tell whether a text may be a study's name."""
    return _NAME.fullmatch(name) is not None


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
    return spec_of(table, path)


def spec_of(table: dict[str, Any], path: Path) -> StudySpec:
    """Check what a study's TOML file says, or would say.

    Raises:
        InputError: Every mistake, in one message.
    """
    try:
        return StudySpec.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, valid_keys=_keys_of_table)}") from error


def study_toml(table: Mapping[str, Any]) -> str:
    """Write a study as the text of a TOML file: scalars, then tables, whose own tables stand inline."""
    plain = {k: v for k, v in table.items() if not isinstance(v, dict)}
    lines = [f"{key} = {_inline(value)}\n" for key, value in plain.items()]
    for key, inner in table.items():
        if isinstance(inner, dict):
            lines.append(f"\n[{key}]\n")
            lines += [f"{_key(k)} = {_inline(v)}\n" for k, v in inner.items()]
    return "".join(lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _inline(value: Any) -> str:
    """Write a value; the JSON forms of scalars are valid TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _unknown_or_missing(fit: dict[str, Any]) -> Iterator[InitErrorDetails]:
    for key in fit:
        if key not in FIT_KEYS:
            yield InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
    for key in SEARCHED:
        if key not in fit:
            yield InitErrorDetails(type="missing", loc=(key,), input=None)


def _checked_setting(key: str, setting: Any) -> Scalar | list[Scalar] | Weights | Range:
    """Turn a table into a range, and check whatever the setting may take in a fit.

    Raises:
        ValidationError: The setting is none, or its values cannot be used.
    """
    checked = Range.model_validate(setting) if isinstance(setting, dict) and key not in TABLES else setting
    values = [checked.low, checked.high] if isinstance(checked, Range) else checked
    if key in TABLES and isinstance(setting, list) and any(isinstance(value, dict) for value in setting):
        fixed = PydanticCustomError("fixed", "a table cannot be one of several choices; choose one")
        raise ValidationError.from_exception_data(key, [InitErrorDetails(type=fixed, input=setting)])
    if key in SINGLE and isinstance(setting, dict | list):
        single = PydanticCustomError("single", "must be one value, the same for all trials; choose one")
        raise ValidationError.from_exception_data(key, [InitErrorDetails(type=single, input=setting)])
    if values == []:
        empty = PydanticCustomError("empty", "must list at least one choice; add one")
        raise ValidationError.from_exception_data(key, [InitErrorDetails(type=empty, input=setting)])
    # Settings that go together are looked at together, once each is known to be one.
    start = "random" if key == "head_width" else "probe"
    blank = cast(Any, TrainConfig).model_construct(head_width=0, head_start=start)
    for value in values if isinstance(values, list) else [values]:
        TrainConfig.__pydantic_validator__.validate_assignment(blank, key, value)
    return checked


def _mistakes_in_setup(setup: Any, fit: dict[str, Any]) -> Iterator[InitErrorDetails]:
    """Find what the search could not try of a setup: it must lie in the space, and agree with what is fixed."""
    if not isinstance(setup, dict):
        yield _said((), f"must be a table of settings, got {setup!r}; write {{ dropout = 0.1 }}", setup)
        return
    if not any(isinstance(fit.get(key, []), Range | list) for key in setup):
        given = ", ".join(setup) or "none"
        yield _said((), f"must give a setting that the study searches, got {given}; add one", setup)
    blank = cast(Any, TrainConfig).model_construct()
    for key, value in setup.items():
        if key not in FIT_KEYS:
            yield InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
            continue
        try:
            TrainConfig.__pydantic_validator__.validate_assignment(blank, key, value, strict=True)
        except ValidationError as error:
            yield from (_line(m["type"], (key,), m) for m in error.errors())
            continue
        space = fit.get(key, TrainConfig.model_fields[key].default)
        if isinstance(space, Range):
            if not space.low <= value <= space.high:
                rule = f"must lie in the range of fit.{key}, {space.low} to {space.high}"
                yield _said((key,), f"{rule}, got {value!r}; widen the range, or change it", value)
        elif isinstance(space, list):
            if value not in space:
                rule = f"must be one of fit.{key}, {', '.join(map(str, space))}"
                yield _said((key,), f"{rule}, got {value!r}; add it there, or change it", value)
        elif value != space:
            fixed = (
                f"must be {'absent' if space is None else repr(space)}, which the study keeps, got {value!r}"
            )
            yield _said((key,), f"{fixed}; leave it out, or open fit.{key} to the search", value)


def _said(place: tuple[int | str, ...], words: str, value: Any) -> InitErrorDetails:
    """Give a mistake in words that name the value."""
    return InitErrorDetails(
        type=PydanticCustomError("value_error", "{words}", {"words": words}), loc=place, input=value
    )


def _line(kind: str, place: tuple[int | str, ...], mistake: Any) -> InitErrorDetails:
    """Repeat a mistake of a setting at its place in the study."""
    if kind in {"extra_forbidden", "missing"}:
        return InitErrorDetails(type=kind, loc=place, input=mistake["input"])
    said = {"words": mistake["msg"].removeprefix("Value error, ")}
    words = PydanticCustomError("value_error" if kind == "value_error" else "setting", "{words}", said)
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
    if path[:2] == ("start", "setups"):
        return FIT_KEYS
    return table_keys(StudySpec, path)
