"""What the trials of a study say: who finished, who is feasible, who is on the Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from search.study import attributes as attr
from search.study.endings import reason_of
from search.study.frozen import Count, Frozen

T = TypeVar("T")

OF_TRAINING = (attr.TRAINING_ACCURACY, attr.TRAINING_EXACT, attr.TRAINING_INTERVAL, attr.GAP)
"""Figures of a trial that are unknown where it was pruned at a peek."""

SCORED = (TrialState.COMPLETE, TrialState.PRUNED)


def finished(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that count against the budget: ended, and not repeated by a later trial."""
    trials = list(trials)
    retried = {t.user_attrs[attr.RETRY_OF] for t in trials if attr.RETRY_OF in t.user_attrs}
    return [t for t in trials if t.state.is_finished() and t.number not in retried]


def complete(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that ran to their own end.

    Their value and validation accuracy are exact, and the training accuracy is, too, of any that was the best feasible one when
    it ended. Of one that was asked for when there was a better one, it may be an estimate that lies surely under the ceiling.
    """
    return [t for t in trials if t.state == TrialState.COMPLETE]


def looks(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return a trial's full evaluations and peeks, in order of age; the training figure of a peek is None.

    Of a trial over folds these are the first fold's.

    Version 0.1.0 kept one: that of the batches trained on since the last look, in train mode and by earlier
    weights, some 16 points below what evaluation finds. It is no accuracy, and no part of a score.
    """
    return [
        look | {"training_accuracy": None, "score": look["validation_accuracy"]} if look["peek"] else look
        for look in trial.user_attrs.get(attr.EVALUATIONS, ())
        if look.get("fold", 1) == 1
    ]


def notes(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's user attributes; of one that was pruned at a peek, without a training figure."""
    if trial.state != TrialState.PRUNED or _measured_at_the_end(trial):
        return trial.user_attrs
    return {k: v for k, v in trial.user_attrs.items() if k not in OF_TRAINING}


def training_kind(trial: FrozenTrial) -> Literal["exact", "estimate", "not measured"] | None:
    """Tell what a trial's training figure is; None before it has ended with figures."""
    if attr.VALIDATION_ACCURACY not in trial.user_attrs:
        return None
    known = notes(trial)
    if attr.TRAINING_ACCURACY not in known:
        return "not measured"
    return "exact" if known.get(attr.TRAINING_EXACT, True) else "estimate"


def excess(trial: FrozenTrial) -> float:
    """Return training accuracy - ceiling; feasible is <= 0, and a trial that has none is not feasible."""
    values = trial.constraints.values() if training_kind(trial) != "not measured" else ()
    return max(values, default=float("inf"))


def is_feasible(trial: FrozenTrial) -> bool:
    """Tell whether a trial's training accuracy is known and not above the ceiling."""
    return excess(trial) <= 0


def best_feasible(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete feasible trial of the highest value; the earliest one on a tie; None if none is."""
    candidates = [t for t in complete(trials) if is_feasible(t)]
    return max(candidates, key=lambda t: (t.value or 0.0, -t.number), default=None)


def nearest_to_feasible(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial that exceeds the ceiling least, higher value first on a tie."""
    return min(
        complete(trials), key=lambda t: (max(0.0, excess(t)), -(t.value or 0.0), t.number), default=None
    )


def pareto_front(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete trials that no other beats: validation accuracy up, training accuracy down.

    Equal points all stay; sorted by validation accuracy, highest first.
    """
    return front(complete(trials), _point)


def front(candidates: Iterable[T], point: Callable[[T], tuple[float, float]]) -> list[T]:
    """Return the candidates that no other beats: validation accuracy up, training accuracy down.

    Equal points all stay, in their order; sorted by validation accuracy, highest first.

    Args:
        candidates: Trials, checkpoints, or whatever has both accuracies.
        point: Tells validation and training accuracy of one.
    """
    unbeaten: list[T] = []
    for candidate in sorted(candidates, key=lambda c: (-point(c)[0], point(c)[1])):
        own = point(candidate)
        if not unbeaten or own[1] < point(unbeaten[-1])[1] or own == point(unbeaten[-1]):
            unbeaten.append(candidate)
    return unbeaten


def recipe_trials(study: Study) -> dict[str, FrozenTrial]:
    """Return the latest finished trial of each recipe, by name."""
    return {
        t.user_attrs[attr.RECIPE]: t
        for t in finished(study.get_trials(deepcopy=False))
        if attr.RECIPE in t.user_attrs
    }


def _measured_at_the_end(trial: FrozenTrial) -> bool:
    evaluations = trial.user_attrs.get(attr.EVALUATIONS, ())
    return bool(evaluations) and not evaluations[-1]["peek"]


def _point(trial: FrozenTrial) -> tuple[float, float]:
    return trial.user_attrs[attr.VALIDATION_ACCURACY], trial.user_attrs[attr.TRAINING_ACCURACY]


class Counts(Frozen):
    """What became of the trials."""

    finished: Count = Field(description="complete + pruned + failed: what counts against --trials.")
    complete: Count = Field(description="Ran to their own end.")
    feasible: Count = Field(description="Of the complete ones, those not above the ceiling.")
    pruned: Count = Field(description="Ended early.")
    failed: Count = Field(description="Failed, and not repeated.")
    repeated: Count = Field(description="Failed or cut off, and repeated by a later trial.")
    running: Count = Field(description="Under way.")
    waiting: Count = Field(description="Enqueued.")
    pruned_by_reason: dict[str, int] = Field(
        description="How many pruned for each reason, most frequent first."
    )
    failed_by_reason: dict[str, int] = Field(
        description="How many failed for each reason, most frequent first."
    )


def count(trials: Iterable[FrozenTrial]) -> Counts:
    """Count trials by what became of them."""
    trials = list(trials)
    ended = finished(trials)
    ended_complete = complete(ended)
    pruned, failed = ([t for t in ended if t.state.name == state] for state in ("PRUNED", "FAIL"))
    return Counts(
        finished=len(ended),
        complete=len(ended_complete),
        feasible=sum(map(is_feasible, ended_complete)),
        pruned=len(pruned),
        failed=len(failed),
        repeated=sum(t.state.is_finished() for t in trials) - len(ended),
        running=sum(t.state.name == "RUNNING" for t in trials),
        waiting=sum(t.state.name == "WAITING" for t in trials),
        pruned_by_reason=dict(Counter(map(kind, pruned)).most_common()),
        failed_by_reason=dict(Counter(map(kind, failed)).most_common()),
    )


def kind(trial: FrozenTrial) -> str:
    """Shorten why a trial ended to what it shares with others: "rung 0.5", "diverged"."""
    reason = reason_of(trial)
    return "reason unknown" if reason is None else reason.heading
