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
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from search.trials.peers import STEPS_PER_EPOCH, Peers, look_at, score_of, step_of
from trainers.fit import error_of_mean, unpacked

UNKNOWN_TEXTS = 300
"""Texts that a look is taken to have seen where it does not say: those of a peek; full ones saw more."""


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
        groups_N: Group of each text whose hits a look tells; None where each text stands for itself.
    """

    def __init__(
        self,
        rungs: Sequence[float],
        *,
        keep: float,
        peers: int,
        margin: float = 0.0,
        groups_N: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._steps = frozenset(step_of(r) for r in rungs)
        self._keep = keep
        self._peers = peers
        self._margin = margin
        self._groups_N = groups_N
        self._peers_of: WeakKeyDictionary[Study, Peers] = WeakKeyDictionary()

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should end at its latest report."""
        return self.reason(study, trial) is not None

    def reason(self, study: Study, trial: FrozenTrial) -> str | None:
        """Return why the trial should end at its latest report, in words; None to go on."""
        step = trial.last_step
        if step is None or step not in self._steps:
            return None
        own = look_at(step, trial)
        peers = self._peers_of.setdefault(study, Peers(self._steps))
        peers.look(study.get_trials(deepcopy=False))
        num_peers = peers.number(step, own, beside=trial.number)
        if num_peers < self._peers:
            return None
        rank = 1 + peers.num_better(step, own)
        places = max(1, math.ceil(self._keep * (num_peers + 1)))
        if rank <= places:
            return None
        reason = (
            f"rung {step / STEPS_PER_EPOCH:g} epochs: score {score_of(own):.3f} ranks {rank} of {num_peers + 1} feasible, "
            f"{places} go on"
        )
        if not self._margin:
            return reason
        behind, error = difference(peers.ranked(step, own, places), own, groups_N=self._groups_N)
        if behind <= self._margin * error:
            return None
        return f"{reason}; {100 * behind:.1f} points behind, standard error {100 * error:.1f}"


def difference(
    better: Mapping[str, Any], own: Mapping[str, Any], *, groups_N: npt.NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Return by how much one look lies above another, and the standard error of that: paired, where both tell their hits.

    Of shares of right texts, even where the study's metric is another one, less what the ceiling takes off. Where hits are not known, as in databases of
    earlier versions, the figures are taken for those of different texts, which makes the error larger. With ``groups_N``, of each
    text whose hits are told, the error is one of other groups.
    """
    if better.get("hits") and own.get("hits"):
        first_N, second_N = unpacked(better["hits"]), unpacked(own["hits"])
        if len(first_N) == len(second_N) > 1:
            differences_N = first_N.astype(float) - second_N
            behind = float(differences_N.mean()) + _penalty(own) - _penalty(better)
            return behind, error_of_mean(differences_N, groups_N)
    shares = np.array([better["validation_accuracy"], own["validation_accuracy"]])
    error = math.sqrt(float((shares * (1 - shares)).sum()) / UNKNOWN_TEXTS)
    return score_of(better) - score_of(own), error


def _penalty(look: Mapping[str, Any]) -> float:
    return float(look["validation_accuracy"]) - score_of(look)
