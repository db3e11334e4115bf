"""How large a search may be to end in time: what this machine reaches, what trials cost, sizes that fit both.

Shapes: N texts.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.processes import Crew, Death, Failure
from trainers.errors import FitError
from trainers.looks import FIRST_SAMPLE, KEPT_CHECKPOINTS, PEEK_TEXTS

if TYPE_CHECKING:
    from trainers.config import TrainConfig
    from trainers.data import Split, Splits
    from trainers.encoder import Encoder
    from trainers.records import Evaluation

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

BATCH_SIZE = 32
STEPS = 100
"""Optimiser steps that a fit should have; the default study's have 94."""

MOST_EPOCHS = 20

MEASURED_TOKENS = 8_192
"""A worker trains on so many tokens, twice, to measure the machine: a second or two."""

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
class Speed:
    """What one worker reaches while all of them work, in useful operations a second.

    Attributes:
        workers: Trials under way at once.
        training: Of forward and backward passes and the optimiser.
        evaluation: Of forward passes.
    """

    workers: int
    training: float
    evaluation: float


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


def measure_speed(encoder: Encoder, splits: Splits, config: TrainConfig, *, workers: int) -> Speed:
    """Let every worker fit a few texts, as a search does, and return what they reach.

    Args:
        encoder: Of the study.
        splits: Whose training texts are taken.
        config: Any of the study's fits.
        workers: To be measured side by side.
    """
    from trainers.features import build_features

    lengths_N = splits.train.lengths_N
    count = min(len(lengths_N), FIRST_SAMPLE, max(BATCH_SIZE, round(MEASURED_TOKENS / lengths_N.mean())))
    # Of more texts than the first sample, an evaluation would not look at all.
    few = _first(splits.train, count)
    depth = max(0, encoder.num_layers - 2)
    config = config.model_copy(
        update={
            "freeze_depth": depth,
            "epochs": 3,
            "evaluations_per_epoch": 1,
            "patience": None,
            "ceiling": None,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        features = build_features(
            encoder,
            replace(splits, train=few, validation=few),
            config,
            depths=[depth],
            directory=Path(folder),
            disk_bytes=2**30,
        )
        with Crew(features, size=workers, peeks=()) as crew:
            evaluations = _evaluations(crew, config, workers=workers)
    rates = []
    for first, *_, last in evaluations.values():
        # The first epoch warms up. Each trains on every text and looks at it twice, as validation and training text.
        flops = last.flops - first.flops
        training = last.training_seconds - first.training_seconds
        evaluation = last.evaluation_seconds - first.evaluation_seconds
        rates.append((0.6 * flops / training, 0.4 * flops / evaluation))
    training, evaluation = np.mean(rates, axis=0)
    return Speed(workers=workers, training=float(training), evaluation=float(evaluation))


def measure_memory(encoder: Encoder, splits: Splits, config: TrainConfig) -> int:
    """Let a process fit a batch of the longest texts, and return the most that a fit takes beside what all share, bytes.

    Args:
        encoder: Of the study.
        splits: Whose training texts are taken.
        config: The study's fit of the lowest freeze depth and the largest batch: it takes the most.

    Raises:
        FitError: That fit failed.
    """
    from trainers.features import Features
    from trainers.precision import choose_precision

    precision = choose_precision(config.precision, encoder.device)
    longest = np.argsort(splits.train.lengths_N)[-config.batch_size :]
    few = _rows(splits.train, longest)
    config = config.model_copy(
        update={
            "epochs": 1,
            "evaluations_per_epoch": 1,
            "patience": None,
            "ceiling": None,
            "precision": precision,
        }
    )
    features = Features(encoder, replace(splits, train=few, validation=few, test=few), precision=precision)
    with Crew(features, size=1, peeks=()) as crew:
        figures = _figures(crew, config)
    trained = encoder.layers[config.freeze_depth :] if config.freeze_depth else encoder.model
    weights = sum(p.numel() * p.element_size() for p in trained.parameters())
    # A fit of one epoch keeps one of the checkpoints, too. While two are compared, the present weights are one more.
    return int(figures["memory_bytes"]) + KEPT_CHECKPOINTS * weights


def _figures(crew: Crew, config: TrainConfig) -> dict[str, Any]:
    crew.begin(0, config)
    while True:
        for _, news in crew.news():
            if isinstance(news, dict):
                return news
            if isinstance(news, Failure | Death):
                raise FitError(f"a first fit, to measure its memory, failed: {news.reason}")
            crew.answer(0, go_on=True)


def _evaluations(crew: Crew, config: TrainConfig, *, workers: int) -> dict[int, list[Evaluation]]:
    """Let every worker fit, and return the evaluations of each."""
    evaluations: dict[int, list[Evaluation]] = {worker: [] for worker in range(workers)}
    for worker in evaluations:
        crew.begin(worker, config)
    under_way = set(evaluations)
    while under_way:
        for worker, news in crew.news():
            if isinstance(news, Failure | Death):
                raise FitError(f"a first fit, to measure this machine, failed: {news}")
            if isinstance(news, dict):
                under_way.discard(worker)
            else:
                evaluations[worker].append(news)
                crew.answer(worker, go_on=True)
    return evaluations


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


def _first(split: Split, count: int) -> Split:
    """Return the first ``count`` texts of a split."""
    end = split.offsets_N1[count]
    return replace(
        split,
        ids_S=split.ids_S[:end],
        offsets_N1=split.offsets_N1[: count + 1],
        labels_N=split.labels_N[:count],
    )


def _rows(split: Split, rows: npt.NDArray[np.int64]) -> Split:
    """Return some texts of a split."""
    parts = [split.ids_S[split.offsets_N1[i] : split.offsets_N1[i + 1]] for i in rows]
    return replace(
        split,
        ids_S=np.concatenate(parts),
        offsets_N1=np.concatenate([[0], np.cumsum(split.lengths_N[rows])]).astype(split.offsets_N1.dtype),
        labels_N=split.labels_N[rows],
    )
