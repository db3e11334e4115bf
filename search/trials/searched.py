"""The searched trials of a study, kept in order as they end, for a sampler to read."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from typing import Self
from weakref import WeakKeyDictionary

from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.storage import optuna_private
from search.study import SCORED, attributes as attr


class Searched:
    """All trials of a study but recipes.

    A look takes time for the trials that are new or under way, and none for those that had ended before.

    Attributes:
        space: What the settings of the trials with a score have in common; it keeps up by itself.
    """

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.space = IntersectionSearchSpace(include_pruned=True)
        self._num_seen = 0
        self._under_way: dict[int, FrozenTrial] = {}
        self._ended: list[FrozenTrial] = []
        self._scored: list[FrozenTrial] = []
        self._by_number: dict[int, FrozenTrial] = {}
        self._ranked: list[tuple[tuple[float, ...], int]] = []

    def look(self, trials: Sequence[FrozenTrial]) -> Self:
        """Take what has changed since the last look.

        Args:
            trials: All of the study's, in order.
        """
        if len(trials) < self._num_seen:
            self._begin_anew()
        for number in range(self._num_seen, len(trials)):
            if attr.RECIPE not in trials[number].user_attrs:
                self._under_way[number] = trials[number]
        self._num_seen = len(trials)
        for number in list(self._under_way):
            trial = self._under_way[number] = trials[number]
            if not trial.state.is_finished():
                continue
            del self._under_way[number]
            insort(self._ended, trial, key=_number)
            if trial.state in SCORED:
                insort(self._scored, trial, key=_number)
                self._by_number[number] = trial
                insort(self._ranked, (rank(trial), number))
        return self

    def of(
        self, states: Container[TrialState] | None, *, limit: int | None = None, num_best: int = 0
    ) -> list[FrozenTrial]:
        """Return the trials of some states, in order; None means all.

        Args:
            states: Wanted ones.
            limit: Where all that have a score are wanted, and none that failed, at most so many of them; None means all.
            num_best: How many of these are the best ones; the others are the latest.
        """
        if states is None:
            ended = self._ended
        elif TrialState.FAIL in states or not all(state in states for state in SCORED):
            ended = [t for t in self._ended if t.state in states]
        elif limit is None or len(self._scored) <= limit:
            ended = self._scored
        else:
            ended = self._best_and_latest(limit, num_best=num_best)
        under_way = [t for _, t in sorted(self._under_way.items()) if states is None or t.state in states]
        if not under_way:
            return ended.copy()
        # Few are newer than the oldest one under way.
        place = bisect_left(ended, under_way[0].number, key=_number)
        return ended[:place] + sorted(ended[place:] + under_way, key=_number)

    def _best_and_latest(self, limit: int, *, num_best: int) -> list[FrozenTrial]:
        best = {number for _, number in self._ranked[:num_best]}
        latest = [t.number for t in self._scored[-limit:] if t.number not in best]
        chosen = sorted([*best, *latest[len(latest) - (limit - len(best)) :]])
        return [self._by_number[number] for number in chosen]


_searched: WeakKeyDictionary[Study, Searched] = WeakKeyDictionary()


def searched_of(study: Study) -> Searched:
    """Return the searched trials of a study as they are now."""
    return _searched.setdefault(study, Searched()).look(study.get_trials(deepcopy=False))


def rank(trial: FrozenTrial) -> tuple[float, ...]:
    """Return where a trial with a score stands among others as TPE sees it, the least is the best.

    Complete trials come first, by their value; then those that were pruned, by how far they came and the value there; then
    those that break a constraint, by how much.
    """
    over = sum(v for v in trial.constraints.values() if v > 0)
    if over > 0:
        return (2.0, over)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None  # noqa: S101
        return (0.0, -trial.value)
    if not trial.intermediate_values:
        return (1.0, 1.0, 0.0)
    step, value = max(trial.intermediate_values.items())
    return (1.0, -step, math.inf if math.isnan(value) else -value)


def without_recipes(study: Study, *, limit: int | None = None, num_best: int = 0) -> Study:
    """Return a view of a study, in which recipes have never been.

    Args:
        study: Whose trials are seen as they are whenever they are asked for.
        limit: As for ``Searched.of``.
        num_best: As for ``Searched.of``.
    """
    return optuna_private.seen_as(
        study, lambda states: searched_of(study).of(states, limit=limit, num_best=num_best)
    )


def _number(trial: FrozenTrial) -> int:
    return trial.number
