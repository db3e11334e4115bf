"""Folds: which texts are the validation split when, of those that no test split holds.

Shapes: N texts, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainers.config import SMALLEST_SPLIT, DataConfig
from trainers.data.grouping import draw_groups
from trainers.data.stratified import stratified_parts, with_bare
from trainers.errors import InputError

Indices = npt.NDArray[np.int64]

Fold = tuple[Indices, Indices]
"""Rows to train on, and rows to validate on, both ascending."""


def fold_rows(labels_N: Indices, groups_N: Indices | None, config: DataConfig) -> list[Fold]:
    """Cut texts into ``config.folds`` folds, each with the classes of all; what has the same group stays together.

    They depend on nothing but labels, groups and seed.

    Args:
        labels_N: Class of each text, or 0 and 1 for each of several labels.
        groups_N: Near duplicates have the same number; None means that each text is its own group.
        config: Number of folds, and seed.
    """
    assert config.folds is not None  # noqa: S101
    seed = (config.seed if config.fold_seed is None else config.fold_seed) % 2**32
    if groups_N is not None and len(np.unique(groups_N)) == len(groups_N):
        groups_N = None
    if labels_N.ndim == 2:
        part_N = _parts_of_several(labels_N, groups_N, config.folds, seed=seed)
        return [(np.flatnonzero(part_N != k), np.flatnonzero(part_N == k)) for k in range(config.folds)]
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups_N is None:
        parts = StratifiedKFold(config.folds, shuffle=True, random_state=seed).split(labels_N, labels_N)
    else:
        parts = StratifiedGroupKFold(config.folds, shuffle=True, random_state=seed).split(
            labels_N, labels_N, groups_N
        )
    return [(np.sort(train), np.sort(validation)) for train, validation in parts]


def _parts_of_several(labels_NC: Indices, groups_N: Indices | None, folds: int, *, seed: int) -> Indices:
    """Return the fold of each text, part_N, each with all labels in proportion, and with the texts that have none."""
    if groups_N is None:
        sizes = [len(labels_NC) // folds + (k < len(labels_NC) % folds) for k in range(folds)]
        return stratified_parts(with_bare(labels_NC), sizes, seed=seed)
    rest, part_N = np.arange(len(labels_NC)), np.full(len(labels_NC), folds - 1)
    for k in range(folds - 1):
        size = round(len(rest) / (folds - k))
        rest, drawn = draw_groups(rest, labels_NC, groups_N, size, leave=folds - 1 - k, seed=seed)
        part_N[drawn] = k
    return part_N


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
    several = labels_N.ndim == 2
    texts_C = labels_N.sum(axis=0) if several else np.bincount(labels_N, minlength=len(names))
    rare = [f"{names[c]!r} ({texts_C[c]})" for c in range(len(names)) if texts_C[c] < folds]
    if rare:
        shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        raise InputError(
            f"each {'label' if several else 'class'} must have a text in each of data.folds = {folds} folds, got fewer texts of "
            f"{shown}; lower data.folds, add texts, or leave the {'label' if several else 'class'} out"
        )
    num_groups = len(labels_N) if groups_N is None else len(np.unique(groups_N))
    if num_groups < folds:
        raise InputError(
            f"each of data.folds = {folds} folds must have a group of texts that belong together, got {num_groups} of them beside "
            "the test split; lower data.folds, or add texts of other groups"
        )
    for number, (train, validation) in enumerate(fold_rows(labels_N, groups_N, config), start=1):
        present_C = (
            labels_N[train].sum(axis=0) if several else np.bincount(labels_N[train], minlength=len(names))
        )
        lacking = [name for name, count in zip(names, present_C, strict=True) if not count]
        if lacking or len(validation) < SMALLEST_SPLIT // 2:
            what = f"has no training text of {lacking[0]!r}" if lacking else f"has {len(validation)} texts"
            raise InputError(
                f"fold {number} of {folds} {what}, since texts that belong together stay together; lower data.folds, or set "
                "another data.seed"
            )
