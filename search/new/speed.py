"""What this machine can do: how fast its workers fit while all of them work, and how much memory one takes.

Shapes: N texts.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.processes import Crew, Death, Failure
from trainers.errors import FitError
from trainers.fit import FIRST_SAMPLE, KEPT_CHECKPOINTS

if TYPE_CHECKING:
    from trainers.config import TrainConfig
    from trainers.data import Split, Splits
    from trainers.encoder import Encoder
    from trainers.records import Evaluation

BATCH_SIZE = 32

MEASURED_TOKENS = 8_192
"""A worker trains on so many tokens, twice, to measure the machine: a second or two."""


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
    # One of the checkpoints is kept by a fit of one epoch, too.
    return int(figures["memory_bytes"]) + (KEPT_CHECKPOINTS - 1) * weights


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
