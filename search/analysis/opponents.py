"""Whether a search was worth it: its winner against what people would do without one, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from search.analysis.ceiling_cost import error_of_difference
from search.analysis.confirmed import NullableEnd, Outcome
from search.analysis.group_effect import group_effect
from search.analysis.majority import ALWAYS_MAJORITY, majority_of
from search.analysis.outcome import confirmation_of
from search.study import OPPONENTS, Count, Figure, Frozen, attributes as attr, percent, results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from trainers.config import Metric

Verdict = Literal["better", "worse", "not told apart", "itself", "unknown"]

BEYOND = 2.0
"""Standard errors by which figures must differ to be told apart."""

SIGNIFICANT = 0.05

WORDS_ALONE = "the words alone"

NonNegative = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})]


class OpponentTested(Frozen):
    """The winner against an opponent on the test split."""

    difference: float = Field(description="Winner minus opponent.")
    low: float | None = Field(description="Lower end of its interval; null where resampling shows no spread.")
    high: NullableEnd
    verdict: Verdict = Field(
        description="What the winner is there: better or worse where p is below 0.05 and the interval over seeds is without "
        "0, else not told apart."
    )

    @property
    def error_in_words(self) -> str:
        """The interval, if there is one."""
        if self.low is None or self.high is None:
            return ""
        return f" ({100 * self.low:+.2f} to {100 * self.high:+.2f})"


class Opponent(Frozen):
    """The winner against an opponent."""

    name: Annotated[str, WithJsonSchema({"enum": [*OPPONENTS, WORDS_ALONE, ALWAYS_MAJORITY]})] = Field(
        description="A recipe, the words alone, or the most frequent class for every text."
    )
    validation_accuracy: Figure | None = Field(description="Null where it has not been measured.")
    seconds: NonNegative | None = Field(description="That it took; null of the most frequent class.")
    difference: float | None = Field(description="Winner minus opponent, on validation, in the search.")
    standard_error: NonNegative | None = Field(
        description="Of the difference, binomial, as if of two samples of as many texts; where texts belong to groups, times the "
        "root of group_effect."
    )
    verdict: Verdict = Field(
        description="What the winner is, on validation: better or worse by more than two standard errors, not told apart, "
        "the opponent itself, or unknown."
    )
    test: OpponentTested | None = Field(
        description="Likewise on the test split, over fresh seeds; null where both were not confirmed."
    )

    @property
    def error_in_words(self) -> str:
        """The standard error."""
        return f", standard error {percent(self.standard_error, unit='')}"


class Opponents(Frozen):
    """The winner against what people would do without a search, and what each costs."""

    name: str | None = Field(
        description="Of the winner, which would be exported: a trial or a recipe; null before there is one."
    )
    trial: int | None = Field(description="Its number.")
    validation_accuracy: Figure | None = Field(description="Its figure in the search.")
    tries: Count = Field(
        description="Finished trials of the search, recipes not counted; its winner is the best of them, so its figure is probably too high."
    )
    seconds: NonNegative | None = Field(description="Wall time of the search.")
    opponents: list[Opponent] = Field(description="The two recipes and the words alone.")


def winner_of(study: Study) -> FrozenTrial | None:
    """Return the trial that would be exported: the confirmed winner, else the best one under the ceiling."""
    trials = study.get_trials(deepcopy=False)
    confirmation = confirmation_of(study)
    if confirmation and confirmation.winner is not None:
        row = next(f for f in confirmation.finalists if f.name == confirmation.winner)
        confirmed = [trial for trial in trials if trial.number == row.trial]
        if confirmed:
            return confirmed[0]
    return results.best_feasible(trials)


def compare_with_opponents(study: Study, winner: FrozenTrial | None, *, metric: Metric) -> Opponents:
    """Compare a trial with the recipes of what people would do without a search, and with the words alone.

    Args:
        study: Finished or running.
        winner: The trial; None if there is none yet.
        metric: The study's.
    """
    trials = study.get_trials(deepcopy=False)
    ended, effect = results.finished(trials), group_effect(trials)
    notes: dict[str, Any] = winner.user_attrs if winner else {}
    name: str | None = (notes.get(attr.RECIPE) or f"trial {winner.number}") if winner else None
    own: float | None = notes.get(attr.VALIDATION_ACCURACY)
    confirmation = confirmation_of(study)
    opponents = []
    for opponent, reached, seconds in _opponents(study):
        difference = None if own is None or reached is None else own - reached
        error = None
        if own is not None and reached is not None:
            error = error_of_difference(
                own, reached, metric=metric, data=study.user_attrs.get(attr.DATA), effect=effect
            )
        opponents.append(
            Opponent(
                name=opponent,
                validation_accuracy=reached,
                seconds=seconds,
                difference=difference,
                standard_error=error,
                verdict="itself" if opponent == name else _judge(difference, error),
                test=_tested(confirmation, name, opponent),
            )
        )
    return Opponents(
        name=name,
        trial=winner.number if winner else None,
        validation_accuracy=own,
        tries=sum(attr.RECIPE not in t.user_attrs for t in ended),
        seconds=study.user_attrs.get(attr.WALL_SECONDS),
        opponents=opponents,
    )


def compare_with_majority(study: Study, winner: FrozenTrial | None, *, metric: Metric) -> Opponent | None:
    """Compare a trial with what answers the most frequent class whatever the text is; None where that is not known.

    Args:
        study: Finished or running.
        winner: The trial; None if there is none yet.
        metric: The study's.
    """
    data = study.user_attrs.get(attr.DATA)
    reached = majority_of(data, metric=metric)
    if reached is None:
        return None
    own: float | None = winner.user_attrs.get(attr.VALIDATION_ACCURACY) if winner else None
    difference = None if own is None else own - reached
    error = None
    if own is not None:
        effect = group_effect(study.get_trials(deepcopy=False))
        error = error_of_difference(own, reached, metric=metric, data=data, effect=effect)
    return Opponent(
        name=ALWAYS_MAJORITY,
        validation_accuracy=reached,
        seconds=None,
        difference=difference,
        standard_error=error,
        verdict=_judge(difference, error),
        test=None,
    )


def _opponents(study: Study) -> Sequence[tuple[str, float | None, float | None]]:
    """Return name, validation accuracy and seconds of each opponent."""
    ran = results.recipe_trials(study)
    found = []
    for name in OPPONENTS:
        trial = next(iter(results.complete([ran[name]])), None) if name in ran else None
        notes = trial.user_attrs if trial else {}
        found.append((name, notes.get(attr.VALIDATION_ACCURACY), notes.get(attr.SECONDS)))
    words = study.user_attrs.get(attr.WORDS) or {}
    return [*found, (WORDS_ALONE, words.get("validation_accuracy"), words.get("seconds"))]


def _judge(difference: float | None, error: float | None) -> Verdict:
    if difference is None or error is None:
        return "unknown"
    if abs(difference) <= BEYOND * error:
        return "not told apart"
    return "better" if difference > 0 else "worse"


def _tested(confirmation: Outcome | None, name: str | None, opponent: str) -> OpponentTested | None:
    for pair in confirmation.comparisons if confirmation else ():
        if {pair.first, pair.second} == {name, opponent}:
            sign = 1 if pair.first == name else -1
            verdict: Verdict = "not told apart"
            low = high = None
            if pair.low is not None and pair.high is not None:
                low, high = sorted((sign * pair.low, sign * pair.high))
                if pair.p_holm < SIGNIFICANT and pair.num_seeds > 1:
                    verdict = "better" if low > 0 else "worse" if high < 0 else verdict
            return OpponentTested(difference=sign * pair.difference, low=low, high=high, verdict=verdict)
    return None
