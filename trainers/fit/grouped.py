"""How sure a mean over texts is where they belong to groups, such as patients: other groups are what it has to hold for.

Shapes: N texts, G groups.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainers.data import fold_rows
from trainers.fit.looks import PEEK_TEXTS
from trainers.fit.samples import order_of

if TYPE_CHECKING:
    from trainers.config import DataConfig
    from trainers.data import Splits

Groups = npt.NDArray[np.int64]
"""groups_N: number of each text's group."""


def error_of_mean(values_N: npt.NDArray[Any], groups_N: Groups | None = None) -> float:
    """Return the standard error of a mean, as one of other texts; with groups, of other groups, each with all its texts.

    A single group shows no spread: its error is infinite.

    Source: Cochran, Sampling Techniques, 1977, of the ratio of two sums over groups.
    """
    count = len(values_N)
    if groups_N is None:
        return float(values_N.std(ddof=1)) / math.sqrt(count)
    _, group_N = np.unique(groups_N, return_inverse=True)
    sums_G = np.bincount(group_N, weights=values_N - values_N.mean())
    if len(sums_G) < 2:
        return math.inf
    return math.sqrt(len(sums_G) / (len(sums_G) - 1) * float((sums_G**2).sum())) / count


def groups_of_hits(splits: Splits, config: DataConfig) -> list[Groups] | None:
    """Return the group of each text whose hits a look tells, groups_N: of the validation split, or of each fold.

    Args:
        splits: That trials are fitted on.
        config: Of the study, which decides folds, and which texts the hits are of.

    Returns:
        None where each text stands for itself.
    """
    pool = splits.validation if config.folds is None else splits.train
    if pool.groups_N is None:
        return None
    parts = [np.arange(len(pool))]
    if config.folds is not None:
        parts = [part for _, part in fold_rows(pool.labels_N, splits.clusters_N, config)]
    return [
        pool.groups_N[part[np.sort(order_of(len(part), seed=config.seed)[:PEEK_TEXTS])]] for part in parts
    ]


def design_effect(hits_N: npt.NDArray[np.bool_] | None, groups_N: Groups, *, all_N: Groups) -> float | None:
    """Return how many times the variance of a share of right texts is that of as many texts without groups; never below 1.

    How alike texts of a group are is measured on some texts; the effect is that of all, whose groups are larger.

    Args:
        hits_N: Whether some texts were right. None, as where texts may have several labels, takes all texts of a group to be
            right or wrong together, which gives the most it can be.
        groups_N: Of these texts.
        all_N: Group of each text that the share is over.

    Returns:
        None where all or no texts were right, or they are of one group, which says nothing of how alike they are.

    Source: Kish, Survey Sampling, 1965.
    """
    together, seen = _texts_together(all_N), _texts_together(groups_N)
    if hits_N is None or seen <= 1:
        return together
    alone, by_group = error_of_mean(hits_N.astype(float)), error_of_mean(hits_N.astype(float), groups_N)
    if alone == 0 or by_group == math.inf:
        return None
    alike = min(1.0, max(0.0, ((by_group / alone) ** 2 - 1) / (seen - 1)))
    return 1 + alike * (together - 1)


def _texts_together(groups_N: Groups) -> float:
    """Return with how many texts, itself counted, a text shares its group, on average over texts."""
    sizes_G = np.unique(groups_N, return_counts=True)[1].astype(float)
    return float((sizes_G**2).sum() / sizes_G.sum())
