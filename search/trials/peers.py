"""Who has been seen at a rung, kept in order as trials report, so that no question reads all trials again."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.study import results

STEPS_PER_EPOCH = 1000
"""Optuna wants whole steps: a trial reports at thousandths of an epoch."""


def step_of(epoch: float) -> int:
    """Turn an age in epochs into Optuna's step."""
    return round(epoch * STEPS_PER_EPOCH)


def score_of(look: Mapping[str, Any]) -> float:
    """Return the score of a look."""
    return float(look["score"])


def look_at(step: int, trial: FrozenTrial) -> Mapping[str, Any]:
    """Return a trial's look at a step; of one that left no looks, its report as that of a full evaluation."""
    for look in results.looks(trial):
        if step_of(look["epoch"]) == step:
            return look
    value = trial.intermediate_values[step]
    return {"peek": False, "score": value, "validation_accuracy": min(1.0, max(0.0, value))}


class Peers:
    """The trials that were seen at each rung: did not fail, and are not known to break a constraint.

    Args:
        steps: Of the rungs.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        self._ranked: dict[tuple[int, bool], list[tuple[float, int]]] = {
            (step, peek): [] for step in steps for peek in (False, True)
        }
        self._looks: dict[int, dict[int, Mapping[str, Any]]] = {step: {} for step in steps}
        self._open: dict[int, FrozenTrial | None] = {}
        self._num_seen = 0

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Take what has changed since the last time, which takes time for the trials that are new or under way.

        Args:
            trials: All of the study's, in order.
        """
        self._open.update(dict.fromkeys(range(self._num_seen, len(trials))))
        self._num_seen = len(trials)
        for number, before in list(self._open.items()):
            trial = trials[number]
            if trial is before:
                continue
            if trial.state.is_finished():
                del self._open[number]
            else:
                self._open[number] = trial
            if trial.state == TrialState.FAIL or 0 < results.excess(trial) < math.inf:
                self._drop(number)
                continue
            for step, looks in self._looks.items():
                if step in trial.intermediate_values and number not in looks:
                    looks[number] = look_at(step, trial)
                    insort(self._ranked[step, looks[number]["peek"]], _key(looks[number], number))

    def number(self, step: int, own: Mapping[str, Any], *, beside: int) -> int:
        """Return how many peers of the same kind of look there are beside a trial."""
        seen = self._looks[step].get(beside)
        return len(self._ranked[step, own["peek"]]) - (seen is not None and seen["peek"] is own["peek"])

    def num_better(self, step: int, own: Mapping[str, Any]) -> int:
        """Return how many have a higher score."""
        return bisect_left(self._ranked[step, own["peek"]], (-score_of(own), -1))

    def ranked(self, step: int, own: Mapping[str, Any], rank: int) -> Mapping[str, Any]:
        """Return the look of the peer of a rank, 1 is the best; of equal scores the earlier trial comes first."""
        _, number = self._ranked[step, own["peek"]][rank - 1]
        return self._looks[step][number]

    def _drop(self, number: int) -> None:
        for step, looks in self._looks.items():
            look = looks.pop(number, None)
            if look is not None:
                ranked = self._ranked[step, look["peek"]]
                del ranked[bisect_left(ranked, _key(look, number))]


def _key(look: Mapping[str, Any], number: int) -> tuple[float, int]:
    return -score_of(look), number
