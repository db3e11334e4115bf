"""The texts of a split in a fixed random order, run through a network as far as they are asked for.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from trainers.fit.batching import Indices, sorted_batches
from trainers.fit.inputs import SplitInputs
from trainers.fit.network import Network


def order_of(count: int, *, seed: int) -> Indices:
    """Return the order in which texts of a split are asked for."""
    return np.random.default_rng(seed).permutation(count)


class Sample:
    """A random sample of a split that can grow until it is the whole split.

    Args:
        inputs: Of the split.
        seed: Decides the order of the texts, and so which of them are the first.

    Attributes:
        labels_N: Of all texts, in the order of the split.
        num_runs_N: How often each text was run through a network.
        seconds: Of those forward passes.
        batching_seconds: Of gathering and padding their batches.
    """

    def __init__(self, inputs: SplitInputs, *, seed: int) -> None:
        self.labels_N = inputs.labels_N
        self.num_runs_N = np.zeros(len(inputs), dtype=np.int64)
        self.seconds = self.batching_seconds = 0.0
        self._inputs = inputs
        self._order = order_of(len(inputs), seed=seed)

    def __len__(self) -> int:
        return len(self._order)

    def rows(self, start: int, end: int) -> Indices:
        """Return which texts are the ``start``-th to the ``end``-th of the order, sorted."""
        rows: Indices = np.sort(self._order[start:end])
        return rows

    @torch.inference_mode()
    def run(self, network: Network, rows: Indices) -> Tensor:
        """Return logits_NC of the texts ``rows``, run in batches by length."""
        logits = []
        parts = sorted_batches(self._inputs.lengths_N[rows])
        started, batching_seconds = time.perf_counter(), 0.0
        for part in parts:
            began = time.perf_counter()
            batch = self._inputs.batch(rows[part])
            batching_seconds += time.perf_counter() - began
            logits.append(network(batch))
        # A GPU still computes: its clock is read once all is there, so as not to hold it up batch by batch.
        logits_NC = torch.cat(logits).cpu()
        self.batching_seconds += batching_seconds
        self.seconds += time.perf_counter() - started - batching_seconds
        self.num_runs_N[rows] += 1
        return logits_NC[torch.from_numpy(np.argsort(np.concatenate(parts)))]
