"""Figures of a study that are kept up as trials begin and end, and equal what a loop over all trials finds."""

from __future__ import annotations

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
    """

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.num_finished = 0
        self.best: FrozenTrial | None = None
        self.seconds: list[float] = []
        self._num_originals = [0]
        self._original_of: dict[int, int] = {}
        self._open: set[int] = set()
        self._retried: set[int] = set()
        self._counted: set[int] = set()
        self._num_complete = self._num_feasible = 0
        self._kinds: dict[TrialState, dict[str, set[int]]] = {TrialState.PRUNED: {}, TrialState.FAIL: {}}

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
                self._challenge(trial)
            if number not in self._retried:
                self._count(trial, number, by=1)
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
        kinds = {k: numbers for k, numbers in self._kinds[state].items() if numbers}
        first = {k: min(numbers) for k, numbers in kinds.items()}
        return {k: len(kinds[k]) for k in sorted(kinds, key=lambda k: (-len(kinds[k]), first[k]))}

    def _count(self, trial: FrozenTrial, number: int, *, by: int) -> None:
        self.num_finished += by
        (self._counted.add if by > 0 else self._counted.discard)(number)
        if trial.state == TrialState.COMPLETE:
            self._num_complete += by
            self._num_feasible += by * is_feasible(trial)
        else:
            numbers = self._kinds[trial.state].setdefault(kind(trial), set())
            (numbers.add if by > 0 else numbers.discard)(number)
        seconds = trial.user_attrs.get(attr.SECONDS)
        if seconds is not None:
            (self.seconds.append if by > 0 else self.seconds.remove)(seconds)

    def _challenge(self, trial: FrozenTrial) -> None:
        rank = (trial.value or 0.0, -trial.number)
        if self.best is None or rank > (self.best.value or 0.0, -self.best.number):
            self.best = trial


_tallies: WeakKeyDictionary[Study, Tally] = WeakKeyDictionary()


def tally_of(study: Study) -> Tally:
    """Return the figures of a study as they are now."""
    return _tallies.setdefault(study, Tally()).look(study.get_trials(deepcopy=False))
