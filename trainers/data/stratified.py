"""Texts of several labels cut into parts that hold each label in proportion.

Shapes: N texts, C labels, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def stratified_parts(labels_NC: Indices, sizes: Sequence[int], *, seed: int) -> Indices:
    """Return the part that each text falls into, part_N, every part exactly as large as asked for.

    The rarest label is dealt out first, text by text, each to the part that lacks most texts of it; ties go to the part that
    lacks most texts at all, then by chance. A part that is full gets no more. Texts that no label asks for fill the rest.

    Args:
        labels_NC: 1 where a text has a label.
        sizes: Of the parts; they add up to N.
        seed: Of what is left to chance.

    Source: Sechidis, Tsoumakas, Vlahavas, On the stratification of multi-label data, 2011. The package
    iterative-stratification 0.1.9 comes nearer to the labels, but missed the size in one of 60 random cases (studies/LOG.md).
    """
    num_texts = len(labels_NC)
    assert sum(sizes) == num_texts  # noqa: S101
    draw = np.random.default_rng(seed)
    order = draw.permutation(num_texts)
    room_P = np.array(sizes, dtype=np.int64)
    wanted_PC = np.outer(room_P / max(1, num_texts), labels_NC.sum(axis=0))
    part_N = np.full(num_texts, -1, dtype=np.int64)

    def deal(text: int, lacking_P: npt.NDArray[np.float64]) -> None:
        ranks = np.lexsort((draw.random(len(room_P)), room_P, lacking_P, room_P > 0))
        part = int(ranks[-1])
        part_N[text] = part
        room_P[part] -= 1
        wanted_PC[part] -= labels_NC[text]

    while True:
        left_C = labels_NC[part_N < 0].sum(axis=0)
        if not left_C.any():
            break
        label = int(np.where(left_C > 0, left_C, num_texts + 1).argmin())
        for text in order[(part_N[order] < 0) & (labels_NC[order, label] > 0)]:
            deal(int(text), wanted_PC[:, label])
    for text in order[part_N[order] < 0]:
        deal(int(text), room_P.astype(float))
    return part_N


def with_bare(labels_NC: Indices) -> Indices:
    """Return labels with one more, of the texts that have none, for these to be dealt out in proportion, too."""
    return np.hstack([labels_NC, ~labels_NC.any(axis=1, keepdims=True)]).astype(np.int64)
