"""Batches of like length: shuffled, yet with little padding.

Shapes: N texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MEGA_BATCH = 50
"""Batches that are sorted by length together; transformers' group_by_length uses the same."""

FORWARD_TOKENS = 2048
"""Of a batch that is not trained on. Fewer waste time on short texts. Of many more, large tensors get their pages from
the system again each time, and the last batch keeps one core busy and the others idle: the features of 240 texts of 128
tokens took half as long again in batches of 64."""

Indices = npt.NDArray[np.int64]


def shuffled_batches(
    lengths_N: npt.NDArray[np.int64], *, batch_size: int, generator: np.random.Generator
) -> list[Indices]:
    """Cut one epoch into batches: random mega-batches, sorted by length inside, batches in random order.

    Every text stands in exactly one batch; only the batch with the last few texts may be smaller.
    """
    order = generator.permutation(len(lengths_N))
    batches: list[Indices] = []
    for start in range(0, len(order), batch_size * MEGA_BATCH):
        mega = order[start : start + batch_size * MEGA_BATCH]
        by_length = mega[np.argsort(lengths_N[mega], kind="stable")]
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def sorted_batches(lengths_N: npt.NDArray[np.int64]) -> list[Indices]:
    """Cut texts into batches by length, the longest first, for forward passes: ``FORWARD_TOKENS`` or a single text."""
    order = np.argsort(-lengths_N, kind="stable")
    batches: list[Indices] = []
    start = 0
    while start < len(order):
        end = start + max(1, FORWARD_TOKENS // max(1, int(lengths_N[order[start]])))
        batches.append(order[start:end])
        start = end
    return batches
