"""A rung pruner that measures a trial against feasible peers only.

Optuna's own pruners ignore constraints, so that one over-fitted trial raises the bar for all feasible ones.
The rule at a rung is that of ASHA (Li et al. 2020, arXiv:1810.05934): go on if among the best 1 / eta so far. Beyond it, no
trial is ended by a difference that its look cannot see: the last peer that goes on must be better by some standard errors of the
difference, on the same texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.study import results
from trainers.fit import unpacked

STEPS_PER_EPOCH = 1000
"""Optuna wants whole steps: a trial reports at thousandths of an epoch."""

UNKNOWN_TEXTS = 300
"""Texts that a look is taken to have seen where it does not say: those of a peek; full ones saw more."""


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
        margin: Standard errors of the difference by which the last peer that goes on must be better.
    """

    def __init__(self, rungs: Sequence[float], *, keep: float, peers: int, margin: float = 0.0) -> None:
        self._steps = frozenset(step_of(r) for r in rungs)
        self._keep = keep
        self._peers = peers
        self._margin = margin

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should end at its latest report."""
        return self.reason(study, trial) is not None

    def reason(self, study: Study, trial: FrozenTrial) -> str | None:
        """Return why the trial should end at its latest report, in words; None to go on."""
        step = trial.last_step
        if step is None or step not in self._steps:
            return None
        own = _look_at(step, trial)
        looks = [
            _look_at(step, t)
            for t in study.get_trials(deepcopy=False)
            if t.number != trial.number
            and t.state != TrialState.FAIL
            and step in t.intermediate_values
            and not 0 < results.excess(t) < math.inf
        ]
        peers = sorted((look for look in looks if look["peek"] is own["peek"]), key=_score, reverse=True)
        if len(peers) < self._peers:
            return None
        rank = 1 + sum(_score(peer) > _score(own) for peer in peers)
        places = max(1, math.ceil(self._keep * (len(peers) + 1)))
        if rank <= places:
            return None
        reason = (
            f"rung {step / STEPS_PER_EPOCH:g} epochs: score {_score(own):.3f} ranks {rank} of {len(peers) + 1} feasible, "
            f"{places} go on"
        )
        if not self._margin:
            return reason
        behind, error = difference(peers[places - 1], own)
        if behind <= self._margin * error:
            return None
        return f"{reason}; {100 * behind:.1f} points behind, standard error {100 * error:.1f}"


def difference(better: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[float, float]:
    """Return by how much one look lies above another, and the standard error of that: paired, where both tell their hits.

    Of shares of right texts, even where the study's metric is another one, less what the ceiling takes off. Where hits are not known, as in databases of
    earlier versions, the figures are taken for those of different texts, which makes the error larger.
    """
    if better.get("hits") and own.get("hits"):
        first_N, second_N = unpacked(better["hits"]), unpacked(own["hits"])
        if len(first_N) == len(second_N) > 1:
            differences_N = first_N.astype(float) - second_N
            behind = float(differences_N.mean()) + _penalty(own) - _penalty(better)
            return behind, float(differences_N.std(ddof=1)) / math.sqrt(len(differences_N))
    shares = np.array([better["validation_accuracy"], own["validation_accuracy"]])
    error = math.sqrt(float((shares * (1 - shares)).sum()) / UNKNOWN_TEXTS)
    return _score(better) - _score(own), error


def _penalty(look: Mapping[str, Any]) -> float:
    return float(look["validation_accuracy"]) - _score(look)


def _score(look: Mapping[str, Any]) -> float:
    return float(look["score"])


def _look_at(step: int, trial: FrozenTrial) -> Mapping[str, Any]:
    """Return a trial's look at a step; of one that left no looks, its report as that of a full evaluation."""
    for look in results.looks(trial):
        if step_of(look["epoch"]) == step:
            return look
    value = trial.intermediate_values[step]
    return {"peek": False, "score": value, "validation_accuracy": min(1.0, max(0.0, value))}
