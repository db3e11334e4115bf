"""Figures of texts that may have several labels, resampled: each text, or group, counts as often as it was drawn.

Shapes: E answers, C labels, R resamples, S seeds, N texts, G groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from trainers.config import Metric

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

NUM_SWAPS: dict[Metric, int] = {"average_precision": 1_999}
"""Resamples of a permutation test, where there are fewer than of other metrics: each ranks all answers."""

BATCH = 4_000_000
ROUNDING = 1e-9


def weighed(labels_EC: Labels, probabilities_EC: Floats, *, metric: Metric) -> Callable[[Floats], Floats]:
    """Return what gives the metric of answers that count as often as weights_RE say, a figure a row.

    It is ``trainers.fit``'s own metric of answers repeated so often, up to rounding.
    """
    from trainers.fit import decide_labels

    predicted_EC = decide_labels(probabilities_EC)
    if metric == "subset_accuracy":
        right_E = (labels_EC == predicted_EC).all(axis=1).astype(float)
        return lambda weights_RE: np.asarray(weights_RE @ right_E / weights_RE.sum(axis=1))
    if metric == "average_precision":
        rankings = [_ranked(*columns) for columns in zip(labels_EC.T, probabilities_EC.T, strict=True)]
        return lambda weights_RE: _mean_over([_precisions(weights_RE, *ranking) for ranking in rankings])
    if metric not in {"micro_f1", "macro_f1"}:
        raise ValueError(f"no metric of labels, got {metric!r}")
    right_EC = (labels_EC * predicted_EC).astype(float)
    all_EC = (labels_EC + predicted_EC).astype(float)

    def f1(weights_RE: Floats) -> Floats:
        right_RC, all_RC = weights_RE @ right_EC, weights_RE @ all_EC
        if metric == "micro_f1":
            right_RC, all_RC = (counts.sum(axis=1, keepdims=True) for counts in (right_RC, all_RC))
        return _mean_over(
            [(2 * r / np.maximum(a, 1), a > 0) for r, a in zip(right_RC.T, all_RC.T, strict=True)],
            nothing=1.0,
        )

    return f1


def permutation_p(
    labels_NC: Labels,
    first_SNC: Floats,
    second_SNC: Floats,
    *,
    metric: Metric,
    num_swaps: int,
    group_N: Labels,
) -> float:
    """Return how often the difference is as large when each group's answers are swapped at random, two-sided.

    Args:
        labels_NC: Of the texts.
        first_SNC: Probabilities by the fits of one setup.
        second_SNC: By those of the other one.
        metric: Which one.
        num_swaps: At most.
        group_N: Number of each text's group, from 0 on; its own where it stands for itself.
    """
    draw = np.random.default_rng(0)
    if (first_SNC == second_SNC).all():
        return 1.0
    labels_EC = np.vstack([labels_NC, labels_NC])
    setups = [
        weighed(labels_EC, np.vstack([first, second]), metric=metric)
        for first, second in zip(first_SNC, second_SNC, strict=True)
    ]

    def differences(swapped_RN: Floats) -> Floats:
        straight_RE = np.hstack([1 - swapped_RN, swapped_RN])
        turned_RE = np.hstack([swapped_RN, 1 - swapped_RN])
        return np.asarray(sum(figure(straight_RE) - figure(turned_RE) for figure in setups))

    num_texts, num_groups = len(labels_NC), int(group_N.max()) + 1
    [observed] = np.abs(differences(np.zeros((1, num_texts))))
    num_swaps = min(num_swaps, NUM_SWAPS.get(metric, num_swaps))
    size, as_large = max(1, BATCH // (2 * num_texts)), 0
    for start in range(0, num_swaps, size):
        count = min(size, num_swaps - start)
        swapped_RN = draw.integers(2, size=(count, num_groups))[:, group_N].astype(float)
        as_large += int((np.abs(differences(swapped_RN)) >= observed - ROUNDING).sum())
    return (1 + as_large) / (1 + num_swaps)


def _ranked(labels_E: Labels, probabilities_E: Floats) -> tuple[Labels, Floats, Labels]:
    """Return the order of answers by falling probability, their labels in it, and where a run of equal ones ends."""
    order_E = np.argsort(-probabilities_E, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(probabilities_E[order_E]) != 0, True))
    return order_E, labels_E[order_E].astype(float), ends


def _precisions(
    weights_RE: Floats, order_E: Labels, labels_E: Floats, ends: Labels
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the average precision of each row, and whether it has a text with the label."""
    ranked_RE = weights_RE[:, order_E]
    said = ranked_RE.cumsum(axis=1)[:, ends]
    hits = (ranked_RE * labels_E).cumsum(axis=1)[:, ends]
    total_R = hits[:, -1]
    gained = np.diff(hits, axis=1, prepend=0.0)
    precision_R = (gained * hits / np.maximum(said, 1)).sum(axis=1) / np.maximum(total_R, 1)
    return precision_R, total_R > 0


def _mean_over(parts: list[tuple[Floats, npt.NDArray[np.bool_]]], *, nothing: float = 0.0) -> Floats:
    """Return the mean over the labels that count in a row; where none does, ``nothing``."""
    figures, counts = (np.stack(part) for part in zip(*parts, strict=True))
    num_R = counts.sum(axis=0)
    return np.where(num_R > 0, (figures * counts).sum(axis=0) / np.maximum(num_R, 1), nothing)
