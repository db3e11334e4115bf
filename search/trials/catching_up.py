"""When a trial over folds ends early: after a fold, once it cannot catch up any more.

It is compared with the best trial so far on the same folds, text by text. What is still to come is predicted from what is
known: the difference over all folds is the sum of that over the folds done, and of as much a text over those that are left,
give or take its own error. If the trial would have to be luckier than ``Z`` standard errors to win, it ends.

Shapes: N texts of the folds that are done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search.study import Ending, Reason
from trainers.fit import error_of_mean, unpacked

Z = 0.84
"""A trial that is ended would have won once in five times at most, as far as the folds done tell. Chosen by reading 27 searches of
20 trials on 300 texts again: five folds would have taken 2.4 to 2.7 fits a trial, and the winner's score would have been 0.1 to 0.3
points below that of trials run to their end; at 2.0, with which they were searched, they took 3.9 to 4.2. Twelve new searches with it took
2.3 to 2.9 fits a trial and lost 0.2 +- 0.1 points (tests/benchmarks/README.md)."""

Fold = Mapping[str, Any]
"""What a trial keeps of a fold (``trainers.fit.FoldResult``)."""


@dataclass(frozen=True)
class Behind:
    """How far a trial lies behind another one on the same folds.

    Attributes:
        points: Difference of the scores over the folds that are done, a share of one.
        error: Standard error of it, as one of all texts like these, or of all groups like theirs.
        share: Of all folds that are done.
        num_texts: That were compared.
    """

    points: float
    error: float
    share: float
    num_texts: int

    @property
    def is_final(self) -> bool:
        """Whether what is left is not enough to catch up, with luck of ``Z`` standard errors."""
        return self.points > Z * self.error * math.sqrt(1 - self.share)


def behind(
    own: Sequence[Fold],
    best: Sequence[Fold],
    *,
    scores: tuple[float, float],
    num_folds: int,
    inflation: float = 1.0,
    groups: Sequence[npt.NDArray[np.int64]] | None = None,
) -> Behind:
    """Compare a trial with the best one on the folds that it has done.

    Args:
        own: Its folds so far.
        best: All folds of the other one.
        scores: Of both over the folds that are done, own first: means, and the ceiling taken into account.
        num_folds: In all.
        inflation: Of the error, for metrics that say less than a share of right texts.
        groups: Of each fold, group of each text whose hits are told; None where each text stands for itself.
    """
    hits = [(unpacked(mine["hits"]), unpacked(its["hits"])) for mine, its in zip(own, best, strict=False)]
    differences_N: npt.NDArray[np.float64] = np.concatenate(
        [its_N.astype(float) - mine_N for mine_N, its_N in hits]
    )
    groups_N = None if groups is None else np.concatenate(groups[: len(own)])
    error = inflation * error_of_mean(differences_N, groups_N)
    return Behind(scores[1] - scores[0], error, len(own) / num_folds, len(differences_N))


def reason_to_end(found: Behind, *, fold: int, num_folds: int, best: int) -> Reason | None:
    """Say why a trial ends after a fold; None to go on."""
    if not found.is_final:
        return None
    return Reason(
        Ending.FOLD,
        f"fold {fold} of {num_folds}: {100 * found.points:.1f} points behind trial {best} on the same {found.num_texts} texts, "
        f"standard error {100 * found.error:.1f}",
    )
