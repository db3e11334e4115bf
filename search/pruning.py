"""A rung pruner that measures a trial against feasible peers only.

Optuna's own pruners ignore constraints, so that one over-fitted trial raises the bar for all feasible ones.
The rule at a rung is that of ASHA (Li et al. 2020, arXiv:1810.05934): go on if among the best 1 / eta so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search import results

STEPS_PER_EPOCH = 1000
"""Optuna wants whole steps: a trial reports at thousandths of an epoch."""


def step_of(epoch: float) -> int:
    """Turn an age in epochs into Optuna's step."""
    return round(epoch * STEPS_PER_EPOCH)


class FeasiblePruner(BasePruner):
    """Prunes a trial whose latest score does not rank among the feasible ones seen at its rung.

    A peer is any other trial that reported at the rung, did not fail and is not known to break a constraint.
    Like is compared with like: peeks, which look at a sample, with peeks, full evaluations with full ones. A
    tie ranks with the better one; steps that are no rung never prune.

    Args:
        rungs: Ages in epochs.
        keep: Share of the trials seen at a rung, this one included, that go on; at least one does.
        peers: Peers a rung must have seen before it prunes.
    """

    def __init__(self, rungs: Sequence[float], *, keep: float, peers: int) -> None:
        self._steps = frozenset(step_of(r) for r in rungs)
        self._keep = keep
        self._peers = peers

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should end at its latest report."""
        return self.reason(study, trial) is not None

    def reason(self, study: Study, trial: FrozenTrial) -> str | None:
        """Return why the trial should end at its latest report, in words; None to go on."""
        step = trial.last_step
        if step is None or step not in self._steps:
            return None
        peek, own = _report_at(step, trial)
        reports = [
            _report_at(step, t)
            for t in study.get_trials(deepcopy=False)
            if t.number != trial.number
            and t.state != TrialState.FAIL
            and step in t.intermediate_values
            and not 0 < results.excess(t) < math.inf
        ]
        scores = [score for kind, score in reports if kind is peek]
        if len(scores) < self._peers:
            return None
        rank = 1 + sum(s > own for s in scores)
        places = max(1, math.ceil(self._keep * (len(scores) + 1)))
        if rank <= places:
            return None
        return (
            f"rung {step / STEPS_PER_EPOCH:g} epochs: score {own:.3f} ranks {rank} of {len(scores) + 1} feasible, "
            f"{places} go on"
        )


def _report_at(step: int, trial: FrozenTrial) -> tuple[bool, float]:
    """Return whether a trial's report at a step was that of a peek, and the score that it tells."""
    for look in results.looks(trial):
        if step_of(look["epoch"]) == step:
            return look["peek"], look["score"]
    return False, trial.intermediate_values[step]
