"""Which of the texts that an estimator is given are not trained on, but stopped by.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from trainers.data import Text, draw_groups, joined, stratified_parts

Rows = npt.NDArray[np.int64]


def draw(
    texts: Sequence[Text],
    labels_N: Rows,
    groups: npt.NDArray[Any] | None,
    *,
    classes: npt.NDArray[Any],
    fraction: float,
    seed: int,
) -> tuple[Rows, Rows]:
    """Draw the rows to train on and those to stop by, of which no text stands among the first.

    Args:
        texts: All of them.
        labels_N: Their classes, or 0 and 1 for each of several labels.
        groups: What each text belongs to: none is on both sides; None means that each text stands for itself.
        classes: Names of the classes.
        fraction: Share of the texts that are not trained on.
        seed: Of what is drawn.

    Raises:
        ValueError: The fraction is none, or texts, classes or groups are too few.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {fraction}; change it")
    if len(classes) < 2:
        raise ValueError(
            f"y must hold two classes at least, got 1 class, {classes.tolist()[0]!r}; add texts of others"
        )
    if groups is not None:
        return _whole_groups(texts, labels_N, groups, classes, fraction, seed)
    if labels_N.ndim == 2:
        return _by_label(texts, labels_N, fraction, seed)
    return _by_class(texts, labels_N, fraction, seed)


def _by_class(texts: Sequence[Text], labels_N: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    several_N = np.bincount(labels_N)[labels_N] > 1
    drawn_from, alone = np.flatnonzero(several_N), np.flatnonzero(~several_N)
    if not len(drawn_from):
        raise ValueError(
            "some class needs two texts at least, one to train on and one to stop by, got "
            f"{len(texts)} samples of as many classes; add texts"
        )
    num_classes = len(np.unique(labels_N[drawn_from]))
    wanted = round(fraction * len(texts))
    train, validation = train_test_split(
        drawn_from,
        test_size=min(max(wanted, num_classes), len(drawn_from) - num_classes),
        stratify=labels_N[drawn_from],
        random_state=seed,
    )
    train = np.concatenate([train, alone])
    known = {texts[i] for i in train}
    unseen = np.array([i for i in validation if texts[i] not in known], dtype=np.int64)
    if not len(unseen):
        raise ValueError(
            f"the {len(texts)} samples have too few distinct texts: all that would be stopped by are trained on, too; "
            "add others"
        )
    return train, unseen


def _by_label(texts: Sequence[Text], labels_NC: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Draw them where texts have several labels: equal texts stand on one side."""
    _, first, inverse = np.unique([repr(text) for text in texts], return_index=True, return_inverse=True)
    size = min(max(1, round(fraction * len(first))), len(first) - 1)
    if size < 1:
        raise ValueError(
            f"the {len(texts)} samples must have two distinct texts at least, one to train on and one to stop by; add others"
        )
    part = stratified_parts(labels_NC[first], (len(first) - size, size), seed=seed)[inverse]
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def _whole_groups(
    texts: Sequence[Text],
    labels_N: Rows,
    groups: npt.NDArray[Any],
    classes: npt.NDArray[Any],
    fraction: float,
    seed: int,
) -> tuple[Rows, Rows]:
    """Draw whole groups; those that have a text in common are one."""
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    texts_N = np.array([numbers[text] for text in texts])
    absent = [i for i, group in enumerate(groups) if group is None or group != group]
    if absent:
        raise ValueError(
            f"groups must name one for each text, got {groups[absent[0]]!r} at index {absent[0]}; fill it in"
        )
    groups_N = joined(np.unique(groups, return_inverse=True)[1], texts_N)
    if len(np.unique(groups_N)) < 2:
        raise ValueError(
            "groups must hold two at least that have no text in common, one to train on and one to stop by, got 1; add others"
        )
    train, validation = draw_groups(
        np.arange(len(texts)), labels_N, groups_N, max(1, round(fraction * len(texts))), leave=1, seed=seed
    )
    drawn = labels_N[train]
    present = drawn if drawn.ndim == 1 else np.flatnonzero(drawn.any(axis=0))
    absent = sorted({*range(len(classes))} - {*present.tolist()})
    if absent:
        raise ValueError(
            f"each class needs a group to train on, got none for {classes[absent[0]].item()!r} beside the groups to "
            "stop by; add groups of it, or lower validation_fraction"
        )
    return train, validation
