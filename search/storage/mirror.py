"""The trials of a study in memory: whoever holds the lease alone changes them, and need not read them again."""

from __future__ import annotations

import copy
import json
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.storage import optuna_private
from search.storage.database import Database
from search.storage.optuna_private import Write


class Mirror(optuna_private.CachedStorage):
    """Optuna's cache, which reads each trial under way again for every question, until ``hold``.

    From then on every write goes to the database first, and then into memory, from which all is read. A trial is read
    back when its state has changed, so that one that has ended is what the database has. Others may enqueue trials: who asks
    for those that wait gets them, too.

    Args:
        database: Where all of it is.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database
        self._held: int | None = None
        self._rows: list[FrozenTrial] = []
        self._open: set[int] = set()
        self._is_behind = False
        self._queue: list[Write] | None = None

    def hold(self, study_id: int) -> None:
        """Read the trials of a study, which from now on nobody else changes."""
        self._rows = super().get_all_trials(study_id, deepcopy=False)
        self._open = {t.number for t in self._rows if not t.state.is_finished()}
        self._is_behind = False
        self._held = study_id

    def release(self) -> None:
        """Be Optuna's cache again: others may change trials from now on."""
        if self._held is None:
            return
        known = self.known(self._held)
        if self._is_behind:
            known.trials.clear()
            self._is_behind = False
        ended = [optuna_private.trial_id(t) for t in known.trials.values() if t.state.is_finished()]
        known.unfinished_trial_ids = {
            optuna_private.trial_id(t) for t in known.trials.values() if not t.state.is_finished()
        }
        known.last_finished_trial_id = max(ended, default=-1)
        self._held, self._rows, self._open = None, [], set()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all writes to running trials in the block in one transaction, at its end."""
        if self._held is None or self._queue is not None:
            yield
            return
        self._queue = []
        try:
            yield
        finally:
            writes, self._queue = self._queue, None
            if writes:
                with self._written():
                    self._database.write(writes)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial and return its id."""
        trial_id = super().create_new_trial(study_id, template_trial)
        if study_id == self._held:
            trial = self.known(study_id).trials[self.place_of(trial_id)[1]]
            if trial.number == len(self._rows):
                self._take(trial)
            else:  # another process has enqueued some before
                self._look_for_new()
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a setting of a running trial."""
        trial = self._row(trial_id)
        known = self._known_distribution(param_name)
        if trial is None or self._queue is None or known is None:
            with self._written():
                super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        else:
            check_distribution_compatibility(known, distribution)
            self._queue.append(Write(trial_id, "param", param_name, param_value_internal, distribution))
        if trial is not None:
            value = distribution.to_external_repr(param_value_internal)
            self._exchange(
                trial,
                params={**trial.params, param_name: value},
                distributions={**trial.distributions, param_name: distribution},
            )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; True if that was done."""
        assert not self._queue  # noqa: S101
        held = self._row(trial_id) is not None
        try:
            with self._written():
                done = super().set_trial_state_values(trial_id, state=state, values=values)
        except UpdateFinishedTrialError:
            if held:
                self._take(self._database.get_trial(trial_id))
            raise
        if held:
            self._take(self._database.get_trial(trial_id))
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Keep a value that was reported."""
        trial = self._row(trial_id)
        if trial is None or self._queue is None or step in trial.intermediate_values:
            with self._written():
                super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        else:
            self._queue.append(Write(trial_id, "step", step, intermediate_value))
        if trial is not None:
            values = {**trial.intermediate_values, step: intermediate_value}
            self._exchange(trial, intermediate_values=values)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep a user attribute."""
        trial = self._row(trial_id)
        if trial is None or self._queue is None:
            with self._written():
                super().set_trial_user_attr(trial_id, key, value)
        else:
            self._queue.append(Write(trial_id, "user", key, value))
        if trial is not None:
            self._exchange(trial, user_attrs={**trial.user_attrs, key: _as_read(value)})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep a system attribute."""
        trial = self._row(trial_id)
        if trial is None or self._queue is None:
            with self._written():
                super().set_trial_system_attr(trial_id, key, value)
        else:
            self._queue.append(Write(trial_id, "system", key, value))
        if trial is not None:
            self._exchange(trial, system_attrs={**trial.system_attrs, key: _as_read(value)})

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        trial = self._row(trial_id)
        if trial is None:
            return super().get_trial(trial_id)
        return trial if trial.state.is_finished() else _own(trial)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study, in order."""
        if study_id != self._held:
            return super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        if states is not None and TrialState.WAITING in states and self._queue is None:
            self._look_for_new()
        if states is None:
            trials = self._rows.copy()
        elif any(state in states for state in TrialState if state.is_finished()):
            trials = [t for t in self._rows if t.state in states]
        else:
            trials = [t for t in (self._rows[n] for n in sorted(self._open)) if t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Remember if a write fails: the database may then have less than memory, or more."""
        try:
            yield
        except BaseException:
            self._is_behind = True
            raise

    def _look_for_new(self) -> None:
        """Take what was created since, by this process or another one, if there is any."""
        assert self._held is not None  # noqa: S101
        last = optuna_private.trial_id(self._rows[-1]) if self._rows else -1
        if self._database.has_newer(self._held, last):
            for trial in self._database.trials_after(self._held, last):
                self.remember(self._held, [trial])
                self._take(trial)

    def _row(self, trial_id: int) -> FrozenTrial | None:
        """Return a trial as memory has it; None if that is not held."""
        study_id, number = self.place_of(trial_id)
        return self._rows[number] if self._held is not None and study_id == self._held else None

    def _known_distribution(self, name: str) -> BaseDistribution | None:
        if self._held is None:
            return None
        known: BaseDistribution | None = self.known(self._held).param_distribution.get(name)
        return known

    def _exchange(self, trial: FrozenTrial, **changes: Any) -> None:
        """Put a changed copy in a trial's place: whoever has the trial keeps it as it was."""
        changed = copy.copy(trial)
        for name, value in changes.items():
            setattr(changed, name, value)
        self._take(changed)

    def _take(self, trial: FrozenTrial) -> None:
        assert self._held is not None  # noqa: S101
        if trial.number == len(self._rows):
            self._rows.append(trial)
        else:
            self._rows[trial.number] = trial
        self.known(self._held).trials[trial.number] = trial
        if trial.state.is_finished():
            self._open.discard(trial.number)
        else:
            self._open.add(trial.number)


@contextmanager
def together(study: Study) -> Iterator[None]:
    """Make all writes to running trials of a study in the block in one transaction, where its storage can."""
    storage = optuna_private.storage_of(study)
    if isinstance(storage, Mirror):
        with storage.together():
            yield
    else:
        yield


def _as_read(value: Any) -> Any:
    """Return what the database gives back of an attribute."""
    return json.loads(json.dumps(value))


def _own(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy that the caller may change, as Optuna's ``Trial`` does."""
    own = copy.copy(trial)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        setattr(own, name, dict(getattr(trial, name)))
    return own
