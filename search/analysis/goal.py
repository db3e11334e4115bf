"""Whether a study's goal is met, and who says so: the search, or fresh seeds once there are any."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Annotated, Literal, Protocol

from pydantic import Field, WithJsonSchema

from search.analysis.confirmed import ConfirmedFinalist, Outcome
from search.study import Frozen, Share

ROUNDING = 1e-9


class Figures(Protocol):
    """A trial, a checkpoint or a fit, both of whose accuracies are known where it ran to its end."""

    @property
    def validation_accuracy(self) -> float | None:
        """By the study's metric; None if it is not known."""

    @property
    def training_accuracy(self) -> float | None:
        """The same on the training split."""


class Trial(Figures, Protocol):
    """A trial of the search."""

    @property
    def number(self) -> int:
        """In the study, from 0."""

    @property
    def value(self) -> float | None:
        """Its score; None if it has none."""

    @property
    def feasible(self) -> bool | None:
        """Whether it lies under the ceiling; None if that is not known."""


class Limits(Frozen):
    """What both accuracies are to reach."""

    validation_accuracy: Share = Field(description="To reach at least.")
    training_accuracy: Share = Field(description="The ceiling, to stay under.")


class SearchJudged(Frozen):
    """What the search alone says of the goal."""

    met: bool = Field(description="Whether one did.")
    trial: int | None = Field(description="The best one that did; null if none did.")


class SetupJudged(Frozen):
    """A setup held against the goal by its fits on fresh seeds."""

    name: str = Field(description="'trial 24', or a recipe's name.")
    trial: int | None = Field(description="Number in the search; null for a recipe that did not run in it.")
    met: bool = Field(description="Whether the mean reaches the goal and most fits stay under the ceiling.")
    mean: float | None = Field(description="Validation accuracy, over the fits that completed.")
    spread: float | None = Field(description="Sample standard deviation over them; null for a single one.")
    num_fits: int = Field(description="Fits, those that failed included.")
    num_complete: int = Field(description="Those that did not.")
    num_under_ceiling: int = Field(description="Fits that stayed under the ceiling.")
    num_meeting_both: int = Field(description="Fits that also reached the goal.")


class FreshSeedsJudged(Frozen):
    """What the confirmation says of the goal."""

    met: bool = Field(description="Whether the winner meets the goal.")
    trial: int | None = Field(description="The winner's number, if it is a trial.")
    num_seeds: Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})] = Field(
        description="How many there were."
    )
    winner: SetupJudged | None = Field(
        description="The winner, judged; null if no setup stays under the ceiling with most seeds."
    )
    others: list[SetupJudged] = Field(description="Finalists beside the winner that meet the goal.")


class GoalJudged(Limits):
    """What the study is after, and whether it got there."""

    met: bool = Field(description="Whether it got there, in the eyes of 'judged_by'.")
    judged_by: Literal["search", "confirmation"] = Field(
        description="Who says so: the search, the best of many tries; or a confirmation, once there is one."
    )
    trial: int | None = Field(description="The trial that met it, if it is met and that is one; else null.")
    in_search: SearchJudged = Field(
        description="What the search alone says: whether a complete trial did both."
    )
    on_fresh_seeds: FreshSeedsJudged | None = Field(
        description="What the confirmation says; null before there is one."
    )


def shortfall(row: Figures, limits: Limits) -> tuple[float, float]:
    """Return how far validation accuracy is below its goal, and training accuracy above the ceiling.

    A ceiling of 1 is none: nothing lies above it, and what reaches it lies as far below as can be.
    """
    validation, training = row.validation_accuracy, row.training_accuracy
    assert validation is not None  # noqa: S101
    assert training is not None  # noqa: S101
    above = training - limits.training_accuracy if limits.training_accuracy < 1 else -1.0
    return limits.validation_accuracy - validation, above


def judge(complete: Sequence[Trial], confirmation: Outcome | None, limits: Limits) -> GoalJudged:
    """Return what ``report.json`` says of the goal.

    The search's figure is the best of many tries. Where a confirmation has measured its winner on fresh seeds, that
    decides, whatever the search said.

    Args:
        complete: Rows of the complete trials.
        confirmation: What ``search.analysis.outcome.confirmation_of`` says; None before there is one.
        limits: What to reach, and what to stay under.
    """
    met = [row for row in complete if row.feasible and meets(row, limits)]
    best = max(met, key=lambda row: (row.value or 0.0, -row.number), default=None)
    found = SearchJudged(met=best is not None, trial=None if best is None else best.number)
    fresh = _judge_fresh(confirmation, limits) if confirmation else None
    decides = fresh or found
    return GoalJudged(
        validation_accuracy=limits.validation_accuracy,
        training_accuracy=limits.training_accuracy,
        met=decides.met,
        judged_by="confirmation" if fresh else "search",
        trial=decides.trial if decides.met else None,
        in_search=found,
        on_fresh_seeds=fresh,
    )


def judge_setup(finalist: ConfirmedFinalist, limits: Limits) -> SetupJudged:
    """Judge a setup by its fits on fresh seeds: their mean reaches the goal, and most stay under the ceiling.

    A fit that failed did neither.
    """
    ended = finalist.complete_fits
    validation = [fit.validation_accuracy for fit in ended if fit.validation_accuracy is not None]
    mean = fmean(validation) if validation else None
    under = sum(shortfall(fit, limits)[1] < 0 for fit in ended)
    return SetupJudged(
        name=finalist.name,
        trial=finalist.trial,
        met=mean is not None
        and mean >= limits.validation_accuracy - ROUNDING
        and under > len(finalist.fits) / 2,
        mean=mean,
        spread=stdev(validation) if len(validation) > 1 else None,
        num_fits=len(finalist.fits),
        num_complete=len(ended),
        num_under_ceiling=under,
        num_meeting_both=sum(meets(fit, limits) for fit in ended),
    )


def state(goal: GoalJudged) -> str:
    """Say in a few words whether the goal is met, and who says so."""
    if goal.on_fresh_seeds:
        return f"{'met' if goal.met else 'not met'} on {seeds_of(goal.on_fresh_seeds)}"
    return "met in the search" if goal.met else "not met"


def seeds_of(judged: FreshSeedsJudged) -> str:
    """Name what judged the goal: one fresh seed is not several."""
    return "one fresh seed" if judged.num_seeds == 1 else "fresh seeds"


def _judge_fresh(confirmation: Outcome, limits: Limits) -> FreshSeedsJudged:
    setups = [judge_setup(row, limits) for row in confirmation.finalists]
    winner = next((s for s in setups if s.name == confirmation.winner), None)
    return FreshSeedsJudged(
        met=winner is not None and winner.met,
        trial=winner.trial if winner else None,
        num_seeds=max(setup.num_fits for setup in setups),
        winner=winner,
        others=[s for s in setups if s is not winner and s.met],
    )


def meets(figures: Figures, limits: Limits) -> bool:
    """Tell whether both accuracies of a trial or a fit reach what they are to reach."""
    short, above = shortfall(figures, limits)
    return short <= ROUNDING and above < 0
