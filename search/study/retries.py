"""Trials that were killed: failed, counted, and tried again a bounded number of times."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.storage import optuna_private
from search.study import attributes as attr
from search.study.endings import KILLED, Ending, Reason, as_attributes, reason_of

MAX_RETRIES = 2
"""A setup whose trial was killed so often again is not tried any more."""

COUNTED = (Ending.KILLED, Ending.NODE_LOST)
"""Each for itself; interruptions by the user, and others' memory, are not the setup's fault, and no end to its repeats."""


ORIGINS = (attr.RECIPE, attr.ORIGIN)
"""User attributes that say where a trial's setup comes from; its repeats keep them."""


def recover(study: optuna.Study, *, reason: Reason = KILLED) -> int:
    """Fail every running trial, and enqueue it again.

    Only to be called by who holds the study's lease and has no trial under way: nobody else runs any, so
    they are what a killed search left, however far it had come with them.

    Returns:
        How many were found.
    """
    orphans = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for orphan in orphans:
        retry(study, orphan, reason=reason)
    return len(orphans)


def retry(study: optuna.Study, trial: FrozenTrial | optuna.Trial, *, reason: Reason) -> None:
    """Fail a running trial for ``reason`` and enqueue its parameters again, if killed a bounded number of times.

    The new trial is enqueued first: a crash in between leaves a trial that is found and failed later, and
    not enqueued twice. A trial that has ended after all is left as it is.
    """
    trials = study.get_trials(deepcopy=False)
    now = trials[trial.number]
    if now.state.is_finished():
        return
    already = any(t.user_attrs.get(attr.RETRY_OF) == now.number for t in trials)
    earlier = _earlier_endings(now, trials)
    times = {ending: [*earlier, reason.ending].count(ending) for ending in COUNTED}
    if not already and max(times.values()) <= MAX_RETRIES:
        attrs = {attr.RETRY_OF: now.number, **{k: v for k, v in now.user_attrs.items() if k in ORIGINS}}
        params = {**now.system_attrs.get(optuna_private.FIXED_PARAMS, {}), **now.params}
        study.enqueue_trial(params, user_attrs=attrs)
    fail(study, trial, reason=reason)


def fail(study: optuna.Study, trial: FrozenTrial | optuna.Trial, *, reason: Reason) -> None:
    """End a running trial as failed, for a reason."""
    storage, trial_id = optuna_private.storage_of(study), optuna_private.trial_id(trial)
    for key, value in as_attributes(reason).items():
        storage.set_trial_user_attr(trial_id, key, value)
    study.tell(trial.number, state=TrialState.FAIL)


def _earlier_endings(trial: FrozenTrial, trials: list[FrozenTrial]) -> list[Ending]:
    """Return how each trial that this one repeats ended."""
    endings = []
    while attr.RETRY_OF in trial.user_attrs:
        trial = trials[trial.user_attrs[attr.RETRY_OF]]
        reason = reason_of(trial)
        if reason is not None:
            endings.append(reason.ending)
    return endings
