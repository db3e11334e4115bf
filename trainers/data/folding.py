"""Folds: which texts are the validation split when, of those that no test split holds.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainers.config import SMALLEST_SPLIT, DataConfig
from trainers.errors import InputError

Indices = npt.NDArray[np.int64]

Fold = tuple[Indices, Indices]
"""Rows to train on, and rows to validate on, both ascending."""


def fold_rows(labels_N: Indices, groups_N: Indices | None, config: DataConfig) -> list[Fold]:
    """Cut texts into ``config.folds`` folds, each with the classes of all; what has the same group stays together.

    They depend on nothing but labels, groups and seed.

    Args:
        labels_N: Class of each text.
        groups_N: Near duplicates have the same number; None means that each text is its own group.
        config: Number of folds, and seed.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    assert config.folds is not None  # noqa: S101
    seed = (config.seed if config.fold_seed is None else config.fold_seed) % 2**32
    if groups_N is None or len(np.unique(groups_N)) == len(groups_N):
        parts = StratifiedKFold(config.folds, shuffle=True, random_state=seed).split(labels_N, labels_N)
    else:
        parts = StratifiedGroupKFold(config.folds, shuffle=True, random_state=seed).split(
            labels_N, labels_N, groups_N
        )
    return [(np.sort(train), np.sort(validation)) for train, validation in parts]


def check_folds(
    labels_N: Indices, groups_N: Indices | None, names: Sequence[str], config: DataConfig
) -> None:
    """Refuse folds that would be too small, or that would lack a class.

    Args:
        labels_N: Class of each text.
        groups_N: As for ``fold_rows``.
        names: Of the classes.
        config: Number of folds, and seed.

    Raises:
        InputError: There are too few texts, of all or of a class.
    """
    folds = config.folds
    assert folds is not None  # noqa: S101
    if len(labels_N) < folds * SMALLEST_SPLIT:
        raise InputError(
            f"each of data.folds = {folds} folds must have {SMALLEST_SPLIT} texts at least, got {len(labels_N)} texts in all "
            "beside the test split; lower data.folds, or add texts"
        )
    texts_C = np.bincount(labels_N, minlength=len(names))
    rare = [f"{names[c]!r} ({texts_C[c]})" for c in range(len(names)) if texts_C[c] < folds]
    if rare:
        shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        raise InputError(
            f"each class must have a text in each of data.folds = {folds} folds, got fewer texts of {shown}; lower data.folds, "
            "add texts, or leave the class out"
        )
    for number, (train, validation) in enumerate(fold_rows(labels_N, groups_N, config), start=1):
        lacking = [names[c] for c in range(len(names)) if c not in labels_N[train]]
        if lacking or len(validation) < SMALLEST_SPLIT // 2:
            what = f"has no training text of {lacking[0]!r}" if lacking else f"has {len(validation)} texts"
            raise InputError(
                f"fold {number} of {folds} {what}, since texts that belong together stay together; lower data.folds, or set "
                "another data.seed"
            )
