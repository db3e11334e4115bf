"""Splits of a length and what a search of them costs, without a text."""

import numpy as np

from search.new.cost import Costs
from search.new.speed import Speed
from trainers.data.splits import Splits
from trainers.data.tokens import Split

MINILM_LAYERS = 6


SPEED = Speed(workers=2, training=67e9, evaluation=70e9, start_seconds=4.0, threads=2)
"""Of one of two workers on the machine of the default study's run: studies/LOG.md."""


def layer_flops(lengths_N):
    """MiniLM's: hidden size 384."""
    return lengths_N * (24 * 384**2 + 4 * 384 * lengths_N.astype(float))


def make_splits(train, validation, length):
    def split(count):
        return Split(
            ids_S=np.zeros(0, dtype=np.int32),
            offsets_N1=np.arange(count + 1, dtype=np.int64) * length,
            labels_N=np.zeros(count, dtype=np.int64),
        )

    return Splits(
        train=split(train),
        validation=split(validation),
        test=split(validation),
        class_names=("a", "b"),
        duplicates=0,
        contradictions=0,
        mended=0,
    )


def make_costs(splits, *, trials=50, layers=MINILM_LAYERS, speed=SPEED):
    return Costs(splits, trials, layers, layer_flops, speed)
