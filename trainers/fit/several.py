"""Figures where a text may have several labels.

Shapes: N texts, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.config import Metric

MILLION = 1_000_000
THRESHOLD = 0.5
"""Probability from which on a text has a label."""

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.floating]


def one_column(labels_N: Labels, *, positive: int) -> Labels:
    """Return one of two classes as a label that a text has or has not, labels_N1."""
    return np.asarray(labels_N == positive, dtype=np.int64)[:, None]


def decide_labels(probabilities_NC: Probabilities, thresholds_C: Probabilities | None = None) -> Labels:
    """Return which labels each text has, labels_NC of 0 and 1: those from whose threshold on it lies, one half if there is none."""
    return np.asarray(
        probabilities_NC >= (THRESHOLD if thresholds_C is None else thresholds_C), dtype=np.int64
    )


def sigmoid(logits_NC: Probabilities) -> npt.NDArray[np.float64]:
    """Return probabilities_NC of labels."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logits_NC, dtype=np.float64)))


def in_millionths(probabilities_NC: npt.NDArray[np.number[Any]]) -> Labels:
    """Return probabilities as whole numbers, rounded down, which leaves on which side of one half they lie."""
    return np.asarray(np.floor(probabilities_NC * MILLION), dtype=np.int64)


def from_millionths(numbers_NC: Labels) -> npt.NDArray[np.float64]:
    """Return the probabilities that ``in_millionths`` was given, up to rounding."""
    return np.asarray(numbers_NC / MILLION)


@dataclass(frozen=True)
class Answers:
    """What a model says of texts, beside what they have. Those of parts of a split add up.

    Attributes:
        labels_NC: 1 where a text has a label.
        probabilities_NC: Of each label.
    """

    labels_NC: Labels
    probabilities_NC: Probabilities

    def __len__(self) -> int:
        return len(self.labels_NC)

    def __add__(self, other: Answers) -> Answers:
        return Answers(
            np.concatenate([self.labels_NC, other.labels_NC]),
            np.concatenate([self.probabilities_NC, other.probabilities_NC]),
        )


def measure_several(answers: Answers, *, metric: Metric, thresholds_C: Probabilities | None = None) -> float:
    """Return the metric of answers; NaN for no text. Labels are said from ``thresholds_C`` on, one half if there are none.

    Micro-F1 counts all labels of all texts together, and is 1 where there is none and none was predicted. Macro-F1 is the
    mean over the labels that a text has or that were predicted. Subset accuracy is the share of texts of which every label
    is right. Average precision is the mean over the labels that a text has of theirs, by probability, and 0 where there is none.
    All as scikit-learn has them; labels that are left out there count nothing here.

    Raises:
        ValueError: The metric is none of these.
    """
    if not len(answers):
        return math.nan
    labels_NC, predicted_NC = answers.labels_NC, decide_labels(answers.probabilities_NC, thresholds_C)
    if metric not in {"micro_f1", "macro_f1", "subset_accuracy", "average_precision"}:
        raise ValueError(f"no metric of labels, got {metric!r}")
    if metric == "subset_accuracy":
        return float((labels_NC == predicted_NC).all(axis=1).mean())
    if metric == "average_precision":
        precisions = list(_average_precisions(answers))
        return float(np.mean(precisions)) if precisions else 0.0
    right_C = (labels_NC * predicted_NC).sum(axis=0)
    all_C = labels_NC.sum(axis=0) + predicted_NC.sum(axis=0)
    if metric == "micro_f1":
        return float(2 * right_C.sum() / all_C.sum()) if all_C.any() else 1.0
    if not all_C.any():
        return 1.0
    return float((2 * right_C[all_C > 0] / all_C[all_C > 0]).mean())


def label_f1(answers: Answers) -> list[float | None]:
    """Return the F1 of each label, as scikit-learn has it; None of one that no text has and none was given."""
    predicted_NC = decide_labels(answers.probabilities_NC)
    right_C = (answers.labels_NC * predicted_NC).sum(axis=0)
    all_C = answers.labels_NC.sum(axis=0) + predicted_NC.sum(axis=0)
    return [float(2 * right / both) if both else None for right, both in zip(right_C, all_C, strict=True)]


def positive_weights(labels_NC: Labels) -> npt.NDArray[np.float64]:
    """Return weights_C of the texts that have a label: how many have not, by how many have; 1 for a label of no text."""
    texts_C = labels_NC.sum(axis=0)
    return np.where(texts_C > 0, (len(labels_NC) - texts_C) / np.maximum(texts_C, 1), 1.0)


def _average_precisions(answers: Answers) -> Iterator[float]:
    from sklearn.metrics import average_precision_score

    for labels_N, probabilities_N in zip(answers.labels_NC.T, answers.probabilities_NC.T, strict=True):
        if labels_N.any():
            yield float(average_precision_score(labels_N, probabilities_N))
