"""Batches of like length: shuffled, yet with little padding.

Shapes: N texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MEGA_BATCH = 50
"""Batches that are sorted by length together; transformers' group_by_length uses the same."""

Rows = npt.NDArray[np.int64]


def shuffled_batches(
    lengths_N: npt.NDArray[np.int64], *, batch_size: int, generator: np.random.Generator
) -> list[Rows]:
    """Cut one epoch into batches: random mega-batches, sorted by length inside, batches in random order.

    Every text stands in exactly one batch; only the batch with the last few texts may be smaller.
    """
    order = generator.permutation(len(lengths_N))
    batches: list[Rows] = []
    for start in range(0, len(order), batch_size * MEGA_BATCH):
        mega = order[start : start + batch_size * MEGA_BATCH]
        by_length = mega[np.argsort(lengths_N[mega], kind="stable")]
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def sorted_batches(lengths_N: npt.NDArray[np.int64], *, batch_size: int) -> list[Rows]:
    """Cut texts into batches by length, the longest first, for evaluation."""
    order = np.argsort(-lengths_N, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
