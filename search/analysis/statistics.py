"""How sure a figure is, and whether a difference is one: intervals and paired tests.

A setup is what its fits on several seeds are drawn from; it is judged, not one fit. Where texts belong to groups, such as patients,
other groups are what the figures have to hold for: groups are drawn again, and change sides, as a whole.

Shapes: N texts, C classes, G groups, S seeds, P patterns (texts of one class that every fit takes alike), R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.analysis.label_statistics import permutation_p, weighed
from trainers.config import Metric

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Classes = npt.NDArray[np.int64]
"""Class indices of texts, true ones or predicted, in the order of the split."""

Figures = npt.NDArray[np.float64]

Predicted = npt.NDArray[np.number[Any]]
"""What is predicted: a class for each text, or the probability of each of several labels. Those have 0 and 1 for true labels."""

CONFIDENCE = 0.95
NUM_RESAMPLES = 2_000
NUM_SWAPS = 9_999
BATCH = 4_000_000
"""Numbers that are in memory at once."""
ROUNDING = 1e-9
"""Figures that differ by less are equal."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval around it.

    Attributes:
        value: Of the fits and texts as they are.
        low: Lower end of the interval; None where resampling shows no spread, such as when all texts are right.
        high: Upper end; likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """Two setups on the same texts.

    Attributes:
        difference: First minus second, by the metric, the mean over the seeds.
        only_first_right: Answers, one a text and seed, that the first alone gets right.
        only_second_right: Likewise.
        p: Of the paired permutation test that it makes no difference, text by text or group by group, which of the two
            answered.
    """

    difference: Estimate
    only_first_right: int
    only_second_right: int
    p: float


def accuracy_of(labels_N: Classes, predicted_N: Predicted, *, metric: Metric, num_classes: int) -> float:
    """Return the metric of predictions.

    Of two classes, average precision takes ``trainers.fit.one_column`` for labels, as all here do.
    """
    from trainers.fit import Answers, measure

    if labels_N.ndim == 2:
        return measure(Answers(labels_N, predicted_N.astype(np.float64)), metric=metric)
    cells = np.bincount(labels_N * num_classes + predicted_N, minlength=num_classes**2)
    return measure(cells.reshape(num_classes, num_classes), metric=metric)


def estimate(
    labels_N: Classes,
    predicted_SN: Predicted,
    *,
    metric: Metric,
    num_classes: int,
    groups_N: Classes | None = None,
) -> Estimate:
    """Return the mean metric of a setup's fits, with an interval over seeds and texts, over texts alone for one fit.

    With ``groups_N``, the number of each text's group, over groups instead of texts.
    """
    return _estimate(labels_N, [predicted_SN], metric=metric, num_classes=num_classes, groups_N=groups_N)


def compare(
    labels_N: Classes,
    first_SN: Predicted,
    second_SN: Predicted,
    *,
    metric: Metric,
    num_classes: int,
    groups_N: Classes | None = None,
) -> Paired:
    """Compare two setups on the same texts: by an interval over seeds and texts, and by a test over texts.

    With ``groups_N``, the number of each text's group, both are over groups instead of texts. Both setups have as many fits. The test speaks of these fits: it cannot know other seeds, the interval does.
    """
    first_right, second_right = _right(labels_N, first_SN), _right(labels_N, second_SN)
    return Paired(
        difference=_estimate(
            labels_N, [first_SN, second_SN], metric=metric, num_classes=num_classes, groups_N=groups_N
        ),
        only_first_right=int((first_right & ~second_right).sum()),
        only_second_right=int((second_right & ~first_right).sum()),
        p=_permutation_p(
            labels_N, first_SN, second_SN, metric=metric, num_classes=num_classes, groups_N=groups_N
        ),
    )


def student_half_width(variance: float, parts: Sequence[tuple[float, int]]) -> float:
    """Return half the width of an interval around a figure, 0 where nothing varies.

    Args:
        variance: Of the figure.
        parts: What it is made of: each variance with the degrees of freedom that it was estimated with. Three seeds
            know their own spread badly, so that the interval is wider than the normal law's.

    Source: Satterthwaite, An approximate distribution of estimates of variance components, 1946.
    """
    from scipy.stats import t

    whole = sum(part for part, _ in parts)
    if whole == 0:
        return 0.0
    freedom = whole**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for how many there are.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = largest
    return corrected


def _estimate(
    labels_N: Classes,
    setups: Sequence[Predicted],
    *,
    metric: Metric,
    num_classes: int,
    groups_N: Classes | None,
) -> Estimate:
    """Estimate the first setup's figure, or how far it lies above the second's.

    Seeds and texts are drawn again together. Of S seeds S - 1 are drawn, else the spread of three would come out a
    third too small; the width is Student's. Groups are drawn as seeds are. A single one shows no spread.

    Source: Rao and Wu, Resampling inference with complex survey data, 1988.
    """
    draw = np.random.default_rng(0)
    counts_P, pattern_N, figures = _resampled(labels_N, setups, metric=metric, num_classes=num_classes)
    counts_GP = None if groups_N is None else _by_group(groups_N, pattern_N)
    num_units = len(labels_N) if counts_GP is None else counts_GP.shape[0]

    def weights(size: int) -> Classes:
        if counts_GP is None:
            drawn_RP: Classes = draw.multinomial(num_units, counts_P / num_units, size=size)
            return drawn_RP
        drawn_RG = draw.multinomial(num_units - 1, np.full(num_units, 1 / num_units), size=size)
        return np.asarray(drawn_RG @ counts_GP)

    [observed_F] = figures(counts_P[None])
    if counts_GP is not None and num_units < 2:
        by_setup = np.split(observed_F, [len(setups[0])])
        return Estimate(
            float(by_setup[0].mean() - (by_setup[1].mean() if len(setups) == 2 else 0)), None, None
        )
    width = len(counts_P) if counts_GP is None else max(counts_GP.shape)
    figures_RF = np.concatenate([figures(weights(size)) for size in _batches(NUM_RESAMPLES, width=width)])
    value, drawn_R, by_texts_R = 0.0, np.zeros(NUM_RESAMPLES), np.zeros(NUM_RESAMPLES)
    parts, own = [], slice(0, 0)
    for sign, predicted_SN in zip((1, -1), setups, strict=False):
        num_seeds = len(predicted_SN)
        own = slice(own.stop, own.stop + num_seeds)
        value += sign * float(observed_F[own].mean())
        by_texts_R += sign * figures_RF[:, own].mean(axis=1)
        chosen = draw.integers(num_seeds, size=(NUM_RESAMPLES, max(1, num_seeds - 1)))
        drawn_R += sign * np.take_along_axis(figures_RF[:, own], chosen, axis=1).mean(axis=1)
        if num_seeds > 1:
            parts.append((float(observed_F[own].var(ddof=1)) / num_seeds, num_seeds - 1))
    parts.append((float(by_texts_R.var(ddof=1)), max(1, num_units - 1)))
    half = student_half_width(float(drawn_R.var(ddof=1)), parts)
    if half < ROUNDING:
        return Estimate(value, None, None)
    lowest, highest = (-1.0 if metric == "quadratic_kappa" else 0.0), 1.0
    if len(setups) == 2:
        lowest, highest = lowest - highest, highest - lowest
    return Estimate(value, max(lowest, value - half), min(highest, value + half))


def _permutation_p(
    labels_N: Classes,
    first_SN: Predicted,
    second_SN: Predicted,
    *,
    metric: Metric,
    num_classes: int,
    groups_N: Classes | None,
) -> float:
    """Return how often the difference is as large when each text's answers are swapped at random, two-sided.

    Those of a group are swapped together. Of texts with the same answers it only counts how many are swapped, which is binomial. That is quick for any
    number of texts; ``scipy.stats.permutation_test`` swaps one by one, and one answer a text: it is the tests' oracle.

    Source: Edgington and Onghena, Randomization tests, 2007.
    """
    if labels_N.ndim == 2:
        group_N = (
            np.arange(len(labels_N)) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
        )
        return permutation_p(
            labels_N,
            first_SN.astype(np.float64),
            second_SN.astype(np.float64),
            metric=metric,
            num_swaps=NUM_SWAPS,
            group_N=group_N,
        )
    draw = np.random.default_rng(0)
    num_seeds = len(first_SN)
    counts_P, labels_P, predicted_FP, pattern_N = _patterns(labels_N, np.vstack([first_SN, second_SN]))
    tables = _tables(labels_P, predicted_FP, num_classes, metric)
    counts_GP = None if groups_N is None else _by_group(groups_N, pattern_N)
    texts_RC = counts_P[None] @ _one_hot(labels_P, num_classes)
    differ_P = (predicted_FP[:num_seeds] != predicted_FP[num_seeds:]).any(axis=0)
    if not differ_P.any():
        return 1.0

    def differences(num_swapped_RP: Classes) -> Figures:
        total = np.zeros(len(num_swapped_RP))
        for first, second in zip(tables[:num_seeds], tables[num_seeds:], strict=True):
            moved = num_swapped_RP @ (second - first)[differ_P]
            total += _measure_each(counts_P @ first + moved, texts_RC, metric)
            total -= _measure_each(counts_P @ second - moved, texts_RC, metric)
        return total

    [observed] = np.abs(differences(np.zeros((1, differ_P.sum()), dtype=np.int64)))
    as_large = 0
    for size in _batches(NUM_SWAPS, width=len(counts_P) if counts_GP is None else max(counts_GP.shape)):
        if counts_GP is None:
            num_swapped_RP = draw.binomial(counts_P[differ_P], 0.5, size=(size, differ_P.sum()))
        else:
            swapped_RG = draw.integers(2, size=(size, counts_GP.shape[0]))
            num_swapped_RP = np.asarray(swapped_RG @ counts_GP)[:, differ_P]
        as_large += int((np.abs(differences(num_swapped_RP)) >= observed - ROUNDING).sum())
    return (1 + as_large) / (1 + NUM_SWAPS)


def _right(labels_N: Classes, predicted_SN: Predicted) -> npt.NDArray[np.bool_]:
    """Tell which answers are right, right_SN: of several labels, if all are."""
    from trainers.fit import decide_labels

    if labels_N.ndim == 1:
        return np.asarray(predicted_SN == labels_N)
    return np.asarray((decide_labels(predicted_SN.astype(np.float64)) == labels_N).all(axis=-1))


def _resampled(
    labels_N: Classes, setups: Sequence[Predicted], *, metric: Metric, num_classes: int
) -> tuple[Classes, Classes, Callable[[Classes], Figures]]:
    """Return counts_P and pattern_N, and what gives each fit's figure, figures_RF, where patterns count as weights_RP say.

    Of several labels, whose probabilities hardly repeat, each text is a pattern.
    """
    if labels_N.ndim == 2:
        each_fit = [
            weighed(labels_N, fit.astype(np.float64), metric=metric) for setup in setups for fit in setup
        ]
        ones_N, own_N = np.ones(len(labels_N), dtype=np.int64), np.arange(len(labels_N))
        return (
            ones_N,
            own_N,
            lambda weights_RN: np.stack([figure(weights_RN.astype(float)) for figure in each_fit], axis=1),
        )
    counts_P, labels_P, predicted_FP, pattern_N = _patterns(labels_N, np.vstack(setups))
    tables = _tables(labels_P, predicted_FP, num_classes, metric)

    def figures(weights_RP: Classes) -> Figures:
        texts_RC = weights_RP @ _one_hot(labels_P, num_classes)
        return np.stack([_measure_each(weights_RP @ table, texts_RC, metric) for table in tables], axis=1)

    return counts_P, pattern_N, figures


def _patterns(labels_N: Classes, predicted_FN: Classes) -> tuple[Classes, Classes, Classes, Classes]:
    """Count texts by their class and by what each of F fits takes them for: counts_P, labels_P, predicted_FP, pattern_N."""
    patterns, pattern_N, counts_P = np.unique(
        np.vstack([labels_N, predicted_FN]), axis=1, return_inverse=True, return_counts=True
    )
    return counts_P, patterns[0], patterns[1:], pattern_N.reshape(-1)


def _by_group(groups_N: Classes, pattern_N: Classes) -> csr_array:
    """Count the texts of each group by their pattern, counts_GP."""
    from scipy.sparse import csr_array

    names, group_N = np.unique(groups_N, return_inverse=True)
    ones_N = np.ones(len(group_N), dtype=np.int64)
    return csr_array((ones_N, (group_N, pattern_N)), shape=(len(names), int(pattern_N.max()) + 1))


def _tables(labels_P: Classes, predicted_FP: Classes, num_classes: int, metric: Metric) -> list[csr_array]:
    """Say for each fit where a pattern counts: in the first C columns if it is right, in the last as predicted.

    By quadratic kappa the first ones hold the square of the steps between class and answer instead.
    """
    from scipy.sparse import hstack

    return [
        hstack(
            [
                _one_hot(
                    labels_P,
                    num_classes,
                    worth_P=(labels_P - predicted_P) ** 2
                    if metric == "quadratic_kappa"
                    else labels_P == predicted_P,
                ),
                _one_hot(predicted_P, num_classes),
            ],
            format="csr",
        )
        for predicted_P in predicted_FP
    ]


def _one_hot(classes_P: Classes, num_classes: int, *, worth_P: npt.NDArray[Any] | None = None) -> csr_array:
    from scipy.sparse import csr_array

    ones_P = np.ones(len(classes_P), dtype=np.int64) if worth_P is None else worth_P.astype(np.int64)
    return csr_array((ones_P, (np.arange(len(classes_P)), classes_P)), shape=(len(classes_P), num_classes))


def _measure_each(cells_RD: Classes, texts_RC: Classes, metric: Metric) -> Figures:
    """Return what ``trainers.fit.metrics.measure`` says of each row, up to rounding.

    Args:
        cells_RD: By class, how many texts are right, or by quadratic kappa the sum of their squared steps, and then how
            many were predicted.
        texts_RC: By class, how many there are.
        metric: Which one.
    """
    from trainers.fit import quadratic_kappas

    num_classes = texts_RC.shape[1]
    right_RC, predicted_RC = cells_RD[..., :num_classes], cells_RD[..., num_classes:]
    if metric == "accuracy":
        return np.asarray(right_RC.sum(axis=-1) / texts_RC.sum(axis=-1))
    if metric == "quadratic_kappa":
        return quadratic_kappas(right_RC.sum(axis=-1), texts_RC, predicted_RC)
    if metric not in {"balanced_accuracy", "macro_f1"}:
        raise ValueError(f"no metric of which class was taken for which, got {metric!r}")
    above_RC, below_RC = right_RC, texts_RC
    if metric == "macro_f1":
        above_RC, below_RC = 2 * right_RC, texts_RC + predicted_RC
    return np.asarray((above_RC / np.maximum(below_RC, 1)).sum(axis=-1) / (below_RC > 0).sum(axis=-1))


def _batches(whole: int, *, width: int) -> list[int]:
    """Cut a number of resamples, each of this width, into what fits into memory."""
    batch = max(1, BATCH // width)
    return [min(batch, whole - start) for start in range(0, whole, batch)]
