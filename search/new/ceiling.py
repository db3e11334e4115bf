"""The ceiling of a new study: how far training may rise on these texts."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.new.speed import first_texts

if TYPE_CHECKING:
    from trainers.config import HeadStart, TrainConfig
    from trainers.data import Split, Splits
    from trainers.encoder import Encoder

MOST_TEXTS = 600
"""Training texts that the head is fitted on; half as many for validation."""

MOST_TOKENS = 64

MOST_OF_A_RARE_CLASS = 10
"""Texts of a class that has none among those."""

SHARE = 0.5
"""How far between what a head alone reaches in training and 100 % the ceiling lies."""


LEAST = 0.97
"""Of a new study's ceiling. Where 92 % was the least, a search of 1,500 sentences ended 5 points below one fit of all layers, which had
94 % in training; of the best setups of five tables of learning curves 92 % cost up to 3.2 points, 97 % up to 1.5 (median 0.3 and 0)."""


def choose_ceiling(head_in_training: float) -> float:
    """Return the training figure to stay under, in whole percents: 97 %, or more where a head alone comes near it.

    Where a head on the untouched encoder knows nearly all training texts, as with topics, 97 % would refuse good fits, or
    all of them.
    """
    halfway = head_in_training + SHARE * (1 - head_in_training)
    return max(LEAST, math.ceil(round(100 * halfway, 6)) / 100)


def choose_head_start(ceiling: float) -> HeadStart:
    """Return ``fit.head_start`` of a new study: ``fitted`` where no figure lies above the ceiling.

    A fitted head takes up what training may rise. Under a ceiling that costs points; without one it costs none, and a few hundred steps
    do not bring a random head of many classes as far (trainers/README.md).
    """
    return "fitted" if ceiling >= 1 else "auto"


def _some(split: Split, count: int) -> Split:
    """Return the first texts of a split, and some of each class that has none among these."""
    labels_N = split.labels_N
    if labels_N.ndim == 2 or set(labels_N[:count]) == set(labels_N):
        return first_texts(split, count, max_length=MOST_TOKENS)
    absent = np.setdiff1d(labels_N, labels_N[:count])
    more = [np.flatnonzero(labels_N == label)[:MOST_OF_A_RARE_CLASS] for label in absent]
    return split.some(np.concatenate([np.arange(count), *more]), max_length=MOST_TOKENS)


def measure_head(encoder: Encoder, splits: Splits, config: TrainConfig) -> float:
    """Return the training figure of a head that is fitted to the untouched encoder, by the metric of ``config``."""
    from trainers.fit import build_features, fit

    few = replace(
        splits,
        train=_some(splits.train, MOST_TEXTS),
        validation=_some(splits.validation, MOST_TEXTS // 2),
    )
    config = config.model_copy(
        update={
            "freeze_depth": encoder.num_layers,
            "head_start": "fitted",
            "epochs": 1,
            "patience": None,
            "ceiling": None,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        features = build_features(
            encoder, few, config, depths=[encoder.num_layers], directory=Path(folder), disk_bytes=2**30
        )
        # The first look is at the head as it was fitted.
        first = fit(config, features).evaluations[0]
    assert first.training_accuracy is not None  # noqa: S101
    return first.training_accuracy
