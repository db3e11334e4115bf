"""From which probability a class is said: chosen on validation for F1, F-beta or balanced accuracy.

Shapes: N texts, C classes, P places between sorted probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from trainers.fit.calibration import Floats

Truths = npt.NDArray[np.bool_]

ThresholdAim = Literal["f1", "f2", "f0.5", "balanced_accuracy"]
"""What a threshold is chosen for: F-beta of its class, or the mean of the shares of its texts and of all others that are right."""

AIMS: tuple[ThresholdAim, ...] = get_args(ThresholdAim)
UNCHANGED = 0.5


def aim_in_words(aim: ThresholdAim) -> str:
    """Name what a threshold is chosen for."""
    return "balanced accuracy" if aim == "balanced_accuracy" else aim.replace("f", "F")


def achieved(said_N: Truths, true_N: Truths, *, aim: ThresholdAim) -> float:
    """Return F-beta or balanced accuracy of one class; 0 where there is nothing to divide by.

    Args:
        said_N: Whether a text is said to be of the class.
        true_N: Whether it is.
        aim: Which of them.
    """
    counts = ((said_N & true_N).sum(), (said_N & ~true_N).sum(), true_N.sum(), (~true_N).sum())
    return float(_value(*map(np.asarray, counts), aim=aim))


def best_threshold(probabilities_N: Floats, true_N: Truths, *, aim: ThresholdAim) -> float:
    """Return the probability from which on a class is best said, by the texts of a split.

    That is the middle between two neighbouring probabilities. One half stays where no other place is better, and of equally
    good places the one nearest to it is taken. Without a text of the class, or without one of another, nothing can be
    chosen, and it stays, too.
    """
    num_true = int(true_N.sum())
    if not 0 < num_true < len(true_N) or not np.isfinite(probabilities_N).all():
        return UNCHANGED
    values_P, first_P = np.unique(np.sort(probabilities_N), return_index=True)
    sorted_N = true_N[np.argsort(probabilities_N, kind="stable")]
    below_P = np.concatenate([[0], np.cumsum(sorted_N)])[first_P]
    hits_P = num_true - below_P
    said_P = len(true_N) - first_P
    goals_P = _value(
        hits_P, said_P - hits_P, np.asarray(num_true), np.asarray(len(true_N) - num_true), aim=aim
    )
    middles_P = (np.concatenate([[0.0], values_P[:-1]]) + values_P) / 2
    best = goals_P.max()
    if achieved(probabilities_N >= UNCHANGED, true_N, aim=aim) >= best:
        return UNCHANGED
    places = middles_P[goals_P >= best]
    return float(places[np.abs(places - UNCHANGED).argmin()])


def decide(
    probabilities_NC: npt.NDArray[np.floating],
    names: Sequence[str],
    thresholds: Mapping[str, float] | None,
) -> npt.NDArray[np.int64]:
    """Return the class of each text, best_N: the most probable one, or of two classes what a threshold says.

    Args:
        probabilities_NC: Of each class.
        names: Of the classes.
        thresholds: The probability from which on a class is said, for one of two classes; None or empty for none.
    """
    if not thresholds:
        best_N: npt.NDArray[np.int64] = probabilities_NC.argmax(axis=1)
        return best_N
    [(name, threshold)] = thresholds.items()
    place = list(names).index(name)
    return np.where(probabilities_NC[:, place] >= threshold, place, 1 - place)


def _value(
    hits: npt.NDArray[np.int64],
    false_alarms: npt.NDArray[np.int64],
    num_true: npt.NDArray[np.int64],
    num_false: npt.NDArray[np.int64],
    *,
    aim: ThresholdAim,
) -> Floats:
    if aim == "balanced_accuracy":
        found = hits / np.maximum(num_true, 1)
        spared = (num_false - false_alarms) / np.maximum(num_false, 1)
        return np.asarray((found + spared) / 2)
    weight = float(aim.removeprefix("f")) ** 2
    gain = (1 + weight) * hits
    return np.asarray(gain / np.maximum(gain + weight * (num_true - hits) + false_alarms, 1e-12))
