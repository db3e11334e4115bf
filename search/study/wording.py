"""How figures are written: one way for each, used by the terminal, the report, the dashboard and the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from search.study import attributes as attr
from trainers.errors import printable

if TYPE_CHECKING:
    from search.study.results import Counts


class Trial(Protocol):
    """A trial and its two accuracies."""

    @property
    def number(self) -> int:
        """In the study, from 0."""

    @property
    def validation_accuracy(self) -> float | None:
        """By the study's metric, a share of one; None if it is not known."""

    @property
    def training_accuracy(self) -> float | None:
        """The same on the training split."""

    @property
    def training_exact(self) -> bool | None:
        """Whether that is over the whole split; None if it is not known."""


class Stage(Protocol):
    """What a stage of a fit restored."""

    @property
    def validation_accuracy(self) -> float:
        """By the study's metric, a share of one; None if it is not known."""


def percent(share: float | None, *, unit: str = " %") -> str:
    """Write a share as percent, two decimals, so that 91.97 % does not look like 92 %; None is a dash."""
    return "-" if share is None else f"{100 * share:.2f}{unit}"


def training_figure(
    share: float | None, *, exact: bool | None, interval: Sequence[float] | None = None, unit: str = " %"
) -> str:
    """Write a training accuracy as percent: an estimate with ~ and its interval, what was not measured as a dash."""
    text = f"{'~' if exact is False and share is not None else ''}{percent(share, unit=unit)}"
    if interval is None:
        return text
    return f"{text} [{', '.join(percent(end, unit='') for end in interval)}]"


def rate(value: float) -> str:
    """Write a learning rate shortly: 4.1e-5."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def duration(seconds: float | None) -> str:
    """Write a time with the two units that matter; None is "not recorded"."""
    if seconds is None:
        return "not recorded"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def origin(attributes: Mapping[str, Any]) -> str:
    """Say where a trial's setup comes from, "recipe thaw-top" or "start: own"; nothing if from the sampler."""
    if attributes.get(attr.RECIPE):
        return f"recipe {attributes[attr.RECIPE]}"
    return f"start: {attributes[attr.ORIGIN]}" if attributes.get(attr.ORIGIN) else ""


def figures(row: Trial) -> str:
    """Name a trial and its two accuracies."""
    validation = percent(row.validation_accuracy)
    training = training_figure(row.training_accuracy, exact=row.training_exact)
    return f"trial {row.number}: validation {validation}, training {training}"


def bound(share: float) -> str:
    """Write a limit as percent, with no more decimals than it has."""
    return f"{100 * share:g} %"


def stages_in_words(stages: Sequence[Stage]) -> str:
    """Say what each stage of a fit restored: "validation by stage 64.70 % -> 74.90 %"."""
    return "validation by stage " + " -> ".join(percent(stage.validation_accuracy) for stage in stages)


def describe_counts(counts: Counts) -> str:
    """Say in words what became of the trials, reasons included."""
    parts = [f"{counts.complete} complete ({counts.feasible} under the ceiling)"]
    for state, number, by_reason in (
        ("pruned", counts.pruned, counts.pruned_by_reason),
        ("failed", counts.failed, counts.failed_by_reason),
    ):
        reasons = ", ".join(f"{times} {reason}" for reason, times in by_reason.items())
        reasons = reasons.replace(" rung ", " at rung ").replace(" fold ", " after fold ")
        parts.append(f"{number} {state}" + (f" ({reasons})" if reasons else ""))
    for number, state in (
        (counts.running, "running"),
        (counts.waiting, "waiting"),
        (counts.repeated, "failed and repeated"),
    ):
        parts += [f"{number} {state}"] if number else []
    return printable(", ".join(parts))
