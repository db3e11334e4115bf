"""What a study may say of the settings of its fits: one value, choices or a range, and setups to try first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, cast

from pydantic import ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from trainers.config import Table, TrainConfig

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


def unknown_or_missing(fit: dict[str, Any]) -> Iterator[InitErrorDetails]:
    """Find settings that no fit has, and of those that every study searches the ones that are not there."""
    for key in fit:
        if key not in FIT_KEYS:
            yield InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
    for key in SEARCHED:
        if key not in fit:
            yield InitErrorDetails(type="missing", loc=(key,), input=None)


def checked_setting(key: str, setting: Any) -> Scalar | list[Scalar] | Weights | Range:
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


def mistakes_in_setup(setup: Any, fit: dict[str, Any]) -> Iterator[InitErrorDetails]:
    """Find what the search could not try of a setup: it must lie in the space, and agree with what is fixed."""
    if not isinstance(setup, dict):
        yield mistake_in_words(
            (), f"must be a table of settings, got {setup!r}; write {{ dropout = 0.1 }}", setup
        )
        return
    if not any(isinstance(fit.get(key, []), Range | list) for key in setup):
        given = ", ".join(setup) or "none"
        yield mistake_in_words(
            (), f"must give a setting that the study searches, got {given}; add one", setup
        )
    blank = cast(Any, TrainConfig).model_construct()
    for key, value in setup.items():
        if key not in FIT_KEYS:
            yield InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
            continue
        try:
            TrainConfig.__pydantic_validator__.validate_assignment(blank, key, value, strict=True)
        except ValidationError as error:
            yield from (at_place(m["type"], (key,), m) for m in error.errors())
            continue
        space = fit.get(key, TrainConfig.model_fields[key].default)
        if isinstance(space, Range):
            if not space.low <= value <= space.high:
                rule = f"must lie in the range of fit.{key}, {space.low} to {space.high}"
                yield mistake_in_words((key,), f"{rule}, got {value!r}; widen the range, or change it", value)
        elif isinstance(space, list):
            if value not in space:
                rule = f"must be one of fit.{key}, {', '.join(map(str, space))}"
                yield mistake_in_words((key,), f"{rule}, got {value!r}; add it there, or change it", value)
        elif value != space:
            fixed = (
                f"must be {'absent' if space is None else repr(space)}, which the study keeps, got {value!r}"
            )
            yield mistake_in_words((key,), f"{fixed}; leave it out, or open fit.{key} to the search", value)


def mistake_in_words(place: tuple[int | str, ...], words: str, value: Any) -> InitErrorDetails:
    """Give a mistake in words that name the value."""
    return InitErrorDetails(
        type=PydanticCustomError("value_error", "{words}", {"words": words}), loc=place, input=value
    )


def at_place(kind: str, place: tuple[int | str, ...], mistake: Any) -> InitErrorDetails:
    """Repeat a mistake of a setting at its place in the study."""
    if kind in {"extra_forbidden", "missing"}:
        return InitErrorDetails(type=kind, loc=place, input=mistake["input"])
    said = {"words": mistake["msg"].removeprefix("Value error, ")}
    words = PydanticCustomError("value_error" if kind == "value_error" else "setting", "{words}", said)
    return InitErrorDetails(type=words, loc=place, input=mistake["input"])


def corners(fit: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield settings in which every scalar, choice and end of a range occurs at least once."""
    ends = {
        k: v if isinstance(v, list) else [v.low, v.high] if isinstance(v, Range) else [v]
        for k, v in fit.items()
    }
    for turn in range(max(len(e) for e in ends.values())):
        yield {k: e[min(turn, len(e) - 1)] for k, e in ends.items()}
