"""How sure a figure is, and whether a difference is one: intervals and paired tests.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.config import Metric

Classes = npt.NDArray[np.int64]
"""Class indices of texts, true ones or predicted, in the order of the split."""

CONFIDENCE = 0.95
NUM_RESAMPLES = 9_999
BATCH = 100
"""Resamples that are in memory at once; of a long test split, all of them would not fit."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval around it.

    Attributes:
        value: On the texts as they are.
        low: Lower end of the interval; None where resampling shows no spread, such as when all texts are right.
        high: Upper end; likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """Two classifiers on the same texts.

    Attributes:
        difference: First minus second, by the metric.
        only_first_right: Texts that the first alone gets right.
        only_second_right: Likewise.
        p: Of McNemar's exact test that these two are equally likely; 1 where both are 0.
    """

    difference: Estimate
    only_first_right: int
    only_second_right: int
    p: float


def accuracy_of(labels_N: Classes, predicted_N: Classes, *, metric: Metric, num_classes: int) -> float:
    """Return the metric of predictions."""
    from trainers.metrics import measure

    cells = np.bincount(labels_N * num_classes + predicted_N, minlength=num_classes**2)
    return measure(cells.reshape(num_classes, num_classes), metric=metric)


def estimate(labels_N: Classes, predicted_N: Classes, *, metric: Metric, num_classes: int) -> Estimate:
    """Return the metric of predictions with its bootstrap interval over texts.

    Source: Efron, Better bootstrap confidence intervals, 1987 (BCa).
    """

    def figure(labels: Classes, predicted: Classes) -> float:
        return accuracy_of(labels, predicted, metric=metric, num_classes=num_classes)

    return _bootstrap((labels_N, predicted_N), figure)


def compare(
    labels_N: Classes, first_N: Classes, second_N: Classes, *, metric: Metric, num_classes: int
) -> Paired:
    """Compare two classifiers on the same texts.

    The interval is of the metric; McNemar's test counts texts that are right, whatever the metric.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    def figure(labels: Classes, first: Classes, second: Classes) -> float:
        return accuracy_of(labels, first, metric=metric, num_classes=num_classes) - accuracy_of(
            labels, second, metric=metric, num_classes=num_classes
        )

    first_right, second_right = first_N == labels_N, second_N == labels_N
    table = [[int((a & b).sum()) for b in (second_right, ~second_right)] for a in (first_right, ~first_right)]
    return Paired(
        difference=_bootstrap((labels_N, first_N, second_N), figure),
        only_first_right=table[0][1],
        only_second_right=table[1][0],
        p=float(mcnemar(table, exact=True).pvalue) if table[0][1] + table[1][0] else 1.0,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for how many there are.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def _bootstrap(columns: tuple[Classes, ...], figure: Callable[..., float]) -> Estimate:
    """Resample texts; the same interval each time, since its random numbers are fixed."""
    from scipy.stats import bootstrap

    value = figure(*columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no spread, which is told by None
        interval = bootstrap(
            columns,
            figure,
            paired=True,
            vectorized=False,
            n_resamples=NUM_RESAMPLES,
            batch=BATCH,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
    known = bool(np.isfinite(interval.low) and np.isfinite(interval.high))
    return Estimate(value, float(interval.low) if known else None, float(interval.high) if known else None)
