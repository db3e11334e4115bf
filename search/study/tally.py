"""Figures of a study that are kept up as trials begin and end, and equal what a loop over all trials finds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.study import attributes as attr
from search.study.results import Counts, is_feasible, kind


class Tally:
    """What a search asks about all its trials again and again.

    A look takes time for the trials that are new or under way, and none for those that had ended before.

    Attributes:
        num_finished: As of ``finished``.
        best: As of ``best_feasible``.
        seconds: How long the finished trials' fits took, of those that say it.
        num_searched: Finished trials that are no recipes.
        best_searched: As of ``best_feasible`` of these.
        num_waiting: Trials that wait to begin.
    """

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.num_finished = 0
        self.best: FrozenTrial | None = None
        self.seconds: list[float] = []
        self.num_searched = self.num_waiting = 0
        self.best_searched: FrozenTrial | None = None
        self._num_originals = [0]
        self._original_of: dict[int, int] = {}
        self._open: set[int] = set()
        self._retried: set[int] = set()
        self._counted: set[int] = set()
        self._num_complete = self._num_feasible = 0
        self._kinds: dict[TrialState, dict[str, _Numbers]] = {TrialState.PRUNED: {}, TrialState.FAIL: {}}

    def look(self, trials: Sequence[FrozenTrial]) -> Tally:
        """Take what has changed since the last look.

        Args:
            trials: All of the study's, in order.
        """
        known = len(self._num_originals) - 1
        if len(trials) < known:
            self._begin_anew()
            known = 0
        for number in range(known, len(trials)):
            original = trials[number].user_attrs.get(attr.RETRY_OF)
            self._num_originals.append(self._num_originals[-1] + (original is None))
            self._open.add(number)
            if original is not None:
                self._original_of[number] = original
                self._retried.add(original)
                if original in self._counted:
                    self._count(trials[original], original, by=-1)
        for number in [n for n in self._open if trials[n].state.is_finished()]:
            self._open.remove(number)
            trial = trials[number]
            if trial.state == TrialState.COMPLETE and is_feasible(trial):
                self.best = _better(trial, self.best)
                if attr.RECIPE not in trial.user_attrs:
                    self.best_searched = _better(trial, self.best_searched)
            if number not in self._retried:
                self._count(trial, number, by=1)
        self.num_waiting = sum(trials[n].state == TrialState.WAITING for n in self._open)
        return self

    def place(self, number: int) -> int:
        """As of ``place``: which trial of the study this is, repeats not counted."""
        while number in self._original_of:
            number = self._original_of[number]
        return self._num_originals[number]

    def counts(self) -> Counts:
        """As of ``count``, of the finished trials."""
        pruned, failed = (self._by_reason(state) for state in (TrialState.PRUNED, TrialState.FAIL))
        return Counts(
            finished=self.num_finished,
            complete=self._num_complete,
            feasible=self._num_feasible,
            pruned=sum(pruned.values()),
            failed=sum(failed.values()),
            repeated=0,
            running=0,
            waiting=0,
            pruned_by_reason=pruned,
            failed_by_reason=failed,
        )

    def _by_reason(self, state: TrialState) -> dict[str, int]:
        """Return how many there are of each kind, most frequent first, of the same number the one that was met first."""
        kinds = {k: met for k, met in self._kinds[state].items() if met.numbers}
        ordered = sorted(kinds, key=lambda k: (-len(kinds[k].numbers), kinds[k].first))
        return {k: len(kinds[k].numbers) for k in ordered}

    def _count(self, trial: FrozenTrial, number: int, *, by: int) -> None:
        self.num_finished += by
        (self._counted.add if by > 0 else self._counted.discard)(number)
        if trial.state == TrialState.COMPLETE:
            self._num_complete += by
            self._num_feasible += by * is_feasible(trial)
        else:
            met = self._kinds[trial.state].setdefault(kind(trial), _Numbers())
            (met.add if by > 0 else met.discard)(number)
        self.num_searched += by * (attr.RECIPE not in trial.user_attrs)
        seconds = trial.user_attrs.get(attr.SECONDS)
        if seconds is not None:
            (self.seconds.append if by > 0 else self.seconds.remove)(seconds)


class _Numbers:
    """Numbers of trials, and the least of them."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.first = sys.maxsize

    def add(self, number: int) -> None:
        """Count a trial."""
        self.numbers.add(number)
        self.first = min(self.first, number)

    def discard(self, number: int) -> None:
        """Count a trial no longer, if it was."""
        self.numbers.discard(number)
        if number == self.first:
            self.first = min(self.numbers, default=sys.maxsize)


def _better(trial: FrozenTrial, best: FrozenTrial | None) -> FrozenTrial:
    """Return the trial of the higher value, of the same value the earlier one."""
    if best is None or (trial.value or 0.0, -trial.number) > (best.value or 0.0, -best.number):
        return trial
    return best


_tallies: WeakKeyDictionary[Study, Tally] = WeakKeyDictionary()


def tally_of(study: Study) -> Tally:
    """Return the figures of a study as they are now."""
    return _tallies.setdefault(study, Tally()).look(study.get_trials(deepcopy=False))
