"""How large a search may be to end in time: what trials cost, and the best sizes that fit.

Shapes: N texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search.new.speed import BATCH_SIZE, Speed
from trainers.fit import FIRST_SAMPLE, PEEK_TEXTS

if TYPE_CHECKING:
    from trainers.data import Splits

RUNG_SHARES = (0.125, 0.25, 0.5)
"""Where trials are pruned, in shares of all their epochs."""

PRUNED_SHARES = (31 / 41, 9 / 41, 1 / 41)
"""How many of the pruned trials ended at each rung, in the 50 trials of the default study."""

FIRST_COMPLETE, LATER_COMPLETE = 4, 0.1
"""Trials that run to their end: the first few, which have no peers to be measured against, and a tenth of all.

9 of 50 in the default study.
"""

EVALUATIONS = 4
"""Full evaluations in a fit, at least; one an epoch, at least."""

SAMPLE = 2 * FIRST_SAMPLE
"""Training texts that an evaluation looks at: the first sample, doubled once where the ceiling is near."""

STEPS = 100
"""Optimiser steps that a fit should have; the default study's have 94."""

MOST_EPOCHS = 20

SHORTEST = 16
"""Tokens kept of a text, at least."""

LADDER = (
    (1 / 3, 20_000, 256),
    (1 / 3, 8_000, 192),
    (1 / 3, 3_000, 128),
    (1 / 2, 3_000, 128),
    (1 / 2, 2_000, 96),
    (2 / 3, 2_000, 96),
    (2 / 3, 1_500, 64),
    (5 / 6, 1_500, 64),
    (5 / 6, 800, 48),
    (1, 800, 48),
    (1, 300, 32),
)
"""From what is best to what is cheapest: layers that every trial freezes, as a share; most training texts; most tokens."""

MARGIN = 0.8
"""Share of the time asked for that the estimate may take; estimates are some tenths off, and have been short by half."""


@dataclass(frozen=True)
class Sizes:
    """What decides how long a search takes.

    Attributes:
        train: Training texts.
        validation: Validation texts.
        max_length: Tokens kept of a text.
        freeze_depth: Lowest that is searched; the highest is the encoder's depth.
        epochs: Of a fit.
    """

    train: int
    validation: int
    max_length: int
    freeze_depth: int
    epochs: int

    @property
    def evaluations_per_epoch(self) -> int:
        """Full evaluations in each epoch."""
        return max(1, math.ceil(EVALUATIONS / self.epochs))

    @property
    def rungs(self) -> tuple[float, ...]:
        """Ages in epochs at which trials are pruned."""
        return tuple(self.epochs * share for share in RUNG_SHARES)


LayerFlops = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]


def choose_sizes(
    splits: Splits,
    *,
    seconds: float,
    num_trials: int,
    num_layers: int,
    layer_flops: LayerFlops,
    speed: Speed,
) -> tuple[Sizes, float]:
    """Return the best sizes whose search ends in ``seconds``, the cheapest ones if none does, and an estimate.

    Args:
        splits: To be searched with, their texts whole.
        seconds: That the search may take.
        num_trials: Of the search.
        num_layers: Of the encoder.
        layer_flops: ``Encoder.layer_flops``.
        speed: Of this machine.

    Returns:
        The sizes, and the seconds that the search is expected to take.
    """
    for sizes in _ladder(splits, num_layers=num_layers):
        expected = estimate_seconds(
            sizes,
            splits,
            num_trials=num_trials,
            num_layers=num_layers,
            layer_flops=layer_flops,
            speed=speed,
        )
        if expected <= MARGIN * seconds:
            break
    return sizes, expected


def estimate_seconds(
    sizes: Sizes,
    splits: Splits,
    *,
    num_trials: int,
    num_layers: int,
    layer_flops: LayerFlops,
    speed: Speed,
) -> float:
    """Estimate how long a search takes, the start of its processes left out.

    A layer's forward pass over a text is ``layer_flops``, a backward pass is two of them. Depths are taken
    to be equally frequent, and pruning to be as in the default study, for which the estimate is 5 % too low.
    """
    flops = float(layer_flops(np.minimum(splits.train.lengths_N, sizes.max_length)).mean())
    layers = (num_layers - sizes.freeze_depth) / 2  # mean of 0 .. num_layers - freeze_depth
    complete = min(num_trials, FIRST_COMPLETE + LATER_COMPLETE * num_trials)
    shares = {1.0: complete} | {
        share: (num_trials - complete) * part for share, part in zip(RUNG_SHARES, PRUNED_SHARES, strict=True)
    }
    trained = sum(n * share * sizes.epochs * sizes.train for share, n in shares.items())
    looked_at = sum(n * _texts_looked_at(sizes, share) for share, n in shares.items())
    prepared = (sizes.train + sizes.validation) * num_layers * flops / speed.evaluation
    return (
        prepared
        + layers * 3 * flops * trained / speed.training
        + layers * flops * looked_at / speed.evaluation
    ) / speed.workers


def _ladder(splits: Splits, *, num_layers: int) -> Iterator[Sizes]:
    # 98 of 100 texts keep to it.
    longest = max(SHORTEST, 8 * math.ceil(np.quantile(splits.train.lengths_N, 0.98) / 8))
    for frozen, most_texts, most_tokens in LADDER:
        train = min(len(splits.train), most_texts)
        epochs = min(MOST_EPOCHS, max(1, round(STEPS * BATCH_SIZE / train)))
        yield Sizes(
            train=train,
            validation=min(len(splits.validation), max(most_texts // 2, PEEK_TEXTS)),
            max_length=min(longest, most_tokens),
            freeze_depth=math.ceil(frozen * num_layers),
            epochs=epochs,
        )


def _texts_looked_at(sizes: Sizes, share: float) -> float:
    """Count the texts that a trial looks at until it has lived for a share of its epochs."""
    age = share * sizes.epochs
    full = math.floor(age * sizes.evaluations_per_epoch + 1e-9)
    peeks = sum(r <= age and not (r * sizes.evaluations_per_epoch).is_integer() for r in sizes.rungs)
    count = full * (sizes.validation + min(sizes.train, SAMPLE)) + peeks * min(sizes.validation, PEEK_TEXTS)
    return count + (sizes.train if share == 1 else 0)
