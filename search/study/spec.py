"""A study's TOML file -> StudySpec; every mistake in it is reported here, all at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails

from search.study.recipes import RECIPES
from search.study.settings import (
    FIT_KEYS,
    Range,
    Scalar,
    Weights,
    at_place,
    checked_setting,
    corners,
    mistake_in_words,
    mistakes_in_setup,
    unknown_or_missing,
)
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

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


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
        mistakes = list(unknown_or_missing(fit))
        for key in [k for k in fit if k in FIT_KEYS]:
            try:
                settings[key] = checked_setting(key, fit[key])
            except ValidationError as error:
                mistakes += [
                    at_place(m["type"], (key, *m["loc"][m["loc"][:1] == (key,) :]), m) for m in error.errors()
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
                found = mistakes_in_setup(setup, fit)
                mistakes += [{**m, "loc": ("setups", place, *m["loc"])} for m in found]
        try:
            Start.model_validate({**start, "setups": ()} if mistakes else start)
        except ValidationError as error:
            mistakes += [at_place(m["type"], m["loc"], m) for m in error.errors()]
        if isinstance(start.get("like"), list | tuple) and known.data.get("name") in start["like"]:
            own = "must name other studies, got this study's own name; take it out"
            mistakes.append(mistake_in_words(("like",), own, start["like"]))
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
        return self.train_config(next(corners(self.fit)), seed=self.seed)

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


def _keys_of_table(path: tuple[str, ...]) -> Iterable[str]:
    if path[:1] == ("fit",):
        return Range.model_fields if path[1:] else FIT_KEYS
    if path[:2] == ("start", "setups"):
        return FIT_KEYS
    return table_keys(StudySpec, path)
