"""What this machine can do: how fast its workers fit while all of them work, and how much memory one takes.

Shapes: N texts.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.trials import Crew, Fitted, drive
from trainers.errors import FitError

if TYPE_CHECKING:
    from trainers.config import TrainConfig
    from trainers.data import Split, Splits
    from trainers.encoder import Encoder
    from trainers.fit import Evaluation

BATCH_SIZE = 32

MEASURED_TOKENS = 2_048
"""Tokens of the texts that a worker fits to be measured."""

MEASURED_LENGTH = 128
"""Tokens kept of a text for that; a search keeps about as many."""

REPETITIONS = 6
"""Epochs that are measured, about a second each; a median leaves out those that something else slowed down."""

LEAST_SHARE = 0.01

BUSY = 0.8
"""A worker that gets less of a core than this shares it with other programs."""


@dataclass(frozen=True)
class Speed:
    """What one worker reaches while all of them work, in useful operations a second.

    On a processor these are seconds of its own: what other programs take is in ``share`` alone, so that a machine that is
    busy for a minute does not decide on a search of an hour.

    Attributes:
        workers: Trials under way at once.
        training: Of forward and backward passes and the optimiser.
        evaluation: Of forward passes.
        start_seconds: From the start of the workers until they fit.
        share: Of a core that a worker got.
        threads: Of the process that prepares features, each as fast as a worker.
    """

    workers: int
    training: float
    evaluation: float
    start_seconds: float = 0.0
    share: float = 1.0
    threads: int = 1

    @property
    def is_shared(self) -> bool:
        """Whether other programs took so much that a search beside them would take visibly longer."""
        return self.share < BUSY


def measure_speed(encoder: Encoder, splits: Splits, config: TrainConfig, *, workers: int) -> Speed:
    """Let every worker fit a few texts, as a search does, and return what they reach.

    Args:
        encoder: Of the study.
        splits: Whose training texts are taken.
        config: Any of the study's fits; its number format is that of the search.
        workers: To be measured side by side.
    """
    import torch

    from trainers.fit import build_features

    tokens = np.minimum(splits.train.lengths_N, MEASURED_LENGTH).mean()
    count = max(2 * BATCH_SIZE, round(MEASURED_TOKENS / tokens))
    few = first_texts(splits.train, count, max_length=MEASURED_LENGTH)
    depth = max(0, encoder.num_layers - 2)
    config = config.model_copy(
        update={
            "freeze_depth": depth,
            "epochs": 1 + REPETITIONS,
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
        config = config.model_copy(update={"precision": features.precision})
        began = time.monotonic()
        with Crew(features, size=workers, peeks=()) as crew:
            looks = _looks(crew, config, workers=workers)
    trained = 3 * (encoder.num_layers - depth) * float(encoder.layer_flops(few.lengths_N).sum())
    repetitions = [
        _rates(before, after, trained=trained, on_processor=encoder.device == "cpu")
        for worker in looks.values()
        for before, after in itertools.pairwise(worker)
    ]
    training, evaluation, share = (float(x) for x in np.median(repetitions, axis=0))
    first = min((worker[0] for worker in looks.values()), key=lambda look: look.heard)
    started = first.heard - began - first.evaluation.seconds
    return Speed(
        workers,
        training,
        evaluation,
        start_seconds=max(0.0, share * started),
        share=share,
        threads=torch.get_num_threads() if encoder.device == "cpu" else 1,
    )


@dataclass(frozen=True)
class _TimedEvaluation:
    """An evaluation, when it was heard of, and what its process had computed until then."""

    evaluation: Evaluation
    heard: float
    processor_seconds: float


def _rates(
    before: _TimedEvaluation, after: _TimedEvaluation, *, trained: float, on_processor: bool
) -> tuple[float, float, float]:
    """Return operations a second in training and in evaluation between two looks, and the share of a core."""
    first, second = before.evaluation, after.evaluation
    training = second.training_seconds - first.training_seconds
    evaluation = second.evaluation_seconds - first.evaluation_seconds
    share = 1.0
    if on_processor:
        batching = second.batching_seconds - first.batching_seconds
        computed = after.processor_seconds - before.processor_seconds
        share = min(1.0, max(LEAST_SHARE, computed / (training + evaluation + batching)))
    looked = second.flops - first.flops - trained
    return trained / (share * training), looked / (share * evaluation), share


def _looks(crew: Crew, config: TrainConfig, *, workers: int) -> dict[int, list[_TimedEvaluation]]:
    """Let every worker fit, and return the evaluations of each."""
    looks: dict[int, list[_TimedEvaluation]] = {}

    def begin(_: int) -> int | None:
        worker = len(looks)
        if worker == workers:
            return None
        looks[worker] = []
        crew.begin(worker, config)
        return worker

    def look(worker: int, evaluation: Evaluation) -> bool:
        looks[worker].append(_TimedEvaluation(evaluation, time.monotonic(), crew.processor_seconds(worker)))
        return True

    for _, news in drive(crew, begin, goes_on=look):
        if not isinstance(news, Fitted):
            raise FitError(f"a first fit, to measure this machine, failed: {news.reason}")
    return looks


def first_texts(split: Split, count: int, *, max_length: int) -> Split:
    """Return the first ``count`` texts of a split, each cut to ``max_length`` tokens."""
    return split.some(np.arange(min(count, len(split))), max_length=max_length)
