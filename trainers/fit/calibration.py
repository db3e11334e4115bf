"""How far a fit's probabilities can be believed: a temperature, the calibration error, what abstaining would buy.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Rights = npt.NDArray[np.bool_]

NUM_BINS = 15
"""Bins of the calibration error: as many as Guo et al. 2017 (arXiv:1706.04599) have, but each with as many texts as another."""

BOUNDS = (0.05, 20.0)
"""Temperatures that are tried. Where the loss still falls at an end, it has no minimum, and says nothing of a temperature."""

ABSTAIN_BELOW = (*(round(0.05 * i, 2) for i in range(20)), 0.975, 0.99, 0.995)
"""Probabilities below which a model could abstain, of which a curve is made."""

NOT_ASKED = "nobody asked for one"

DIGITS = 5
"""Of what is kept in a database."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What is right of what is believed, in bins of equally many answers.

    Attributes:
        counts: Answers of each bin that has any; equal probabilities share one.
        confidences: Mean probability of the answers of each.
        accuracies: Share of them that is right.
        error: Expected calibration error: the mean over all answers of how far the two lie apart in their bin.
        by_chance: What that error would be about if every probability were right: so few answers scatter by themselves.
        log_loss: Mean negative log-likelihood in nats.
    """

    counts: tuple[int, ...]
    confidences: tuple[float, ...]
    accuracies: tuple[float, ...]
    error: float
    by_chance: float
    log_loss: float


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What is left of a split if less sure answers are held back.

    Attributes:
        abstain_below: Probability below which the model abstains.
        coverage: Share of the texts that is answered.
        accuracy: Share of these that is right; None if none is answered.
    """

    abstain_below: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class SplitCalibration:
    """One split before and after temperature scaling.

    Attributes:
        num_texts: Of the split.
        before: Of the logits as they are.
        after: Of the logits divided by the temperature.
        coverage: After it, by rising probability, from the last one on that holds nothing back.
    """

    num_texts: int
    before: Reliability
    after: Reliability
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a fit's probabilities are worth.

    Attributes:
        temperature: By which logits are divided, fitted on validation; 1 leaves them alone.
        reason: Why they are left alone; None if they are not.
        validation: On the split that the temperature was fitted on.
        test: On the test split; None if nobody looked.
    """

    temperature: float
    reason: str | None
    validation: SplitCalibration
    test: SplitCalibration | None = None

    def plain(self) -> dict[str, Any]:
        """Return what a database keeps of it."""
        plain: dict[str, Any] = _rounded(asdict(self))
        return plain


@dataclass(frozen=True)
class Answered:
    """A split's labels and what a network answers: labels_N and logits_NC."""

    logits_NC: Floats
    labels_N: Labels


def calibrate(
    validation: Answered, test: Answered | None = None, *, several_labels: bool = False, scale: bool = True
) -> Calibration:
    """Fit a temperature on validation, and measure what it does there and on the test split.

    Of several labels each text and label counts as an answer of its own, and nothing is said of abstaining: that is from
    texts, not from labels. Unless they are to ``scale``, logits are left as they are.
    """
    if several_labels:
        flat = calibrate(
            label_by_label(validation), None if test is None else label_by_label(test), scale=scale
        )
        bare = None if flat.test is None else replace(flat.test, coverage=())
        return replace(flat, validation=replace(flat.validation, coverage=()), test=bare)
    temperature, reason = (
        choose_temperature(validation.logits_NC, validation.labels_N) if scale else (1.0, NOT_ASKED)
    )
    return Calibration(
        temperature=temperature,
        reason=reason,
        validation=_split(validation, temperature),
        test=None if test is None else _split(test, temperature),
    )


def label_by_label(split: Answered) -> Answered:
    """Return the answers on several labels as if each text and label were a text of two classes: without it, and with it."""
    logits_M = split.logits_NC.reshape(-1)
    return Answered(np.stack([np.zeros_like(logits_M), logits_M], axis=1), split.labels_N.reshape(-1))


def choose_temperature(logits_NC: Floats, labels_N: Labels) -> tuple[float, str | None]:
    """Return the likeliest temperature, or 1 and why where validation does not call for another.

    One fitted number raises the log-likelihood of what it is fitted on by itself: what does not gain one nat over all texts
    is taken for that (Akaike's criterion).
    """
    if not len(labels_N):
        return 1.0, "no text to fit it on"
    if not np.isfinite(logits_NC).all():
        return 1.0, "some logits are not finite"
    if (logits_NC.argmax(axis=1) == labels_N).all():
        return 1.0, "every validation text is right, so that none says how sure is too sure"
    temperature = likeliest_temperature(logits_NC, labels_N)
    if temperature is None:
        return 1.0, f"none between {BOUNDS[0]:g} and {BOUNDS[1]:g} is the likeliest one"
    gain = len(labels_N) * (log_loss(logits_NC, labels_N) - log_loss(logits_NC / temperature, labels_N))
    if gain <= 1:
        return (
            1.0,
            f"validation gains {gain:.2f} nats from one of {temperature:.3g}, no more than chance gives",
        )
    return float(f"{temperature:.4g}"), None


def likeliest_temperature(logits_NC: Floats, labels_N: Labels) -> float | None:
    """Return the number by which logits are to be divided for the lowest negative log-likelihood; None if there is none."""
    from scipy.optimize import minimize_scalar

    low, high = math.log(BOUNDS[0]), math.log(BOUNDS[1])
    found = minimize_scalar(
        lambda log_temperature: log_loss(logits_NC * math.exp(-log_temperature), labels_N),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-8},
    )
    is_inside = low + 0.01 < found.x < high - 0.01
    return math.exp(found.x) if is_inside else None


def log_loss(logits_NC: Floats, labels_N: Labels) -> float:
    """Return the mean negative log-likelihood in nats; NaN for no text."""
    from scipy.special import log_softmax

    if not len(labels_N):
        return math.nan
    log_NC = log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=1)
    return -float(log_NC[np.arange(len(labels_N)), labels_N].mean())


def probabilities(logits_NC: Floats, *, temperature: float = 1.0) -> Floats:
    """Return probabilities_NC."""
    from scipy.special import softmax

    probabilities_NC: Floats = softmax(np.asarray(logits_NC, dtype=np.float64) / temperature, axis=1)
    return probabilities_NC


def reliability(confidences_N: Floats, right_N: Rights, *, log_loss: float) -> Reliability:
    """Lay answers into bins of equally many by their probability.

    Edges are quantiles, as ``sklearn.calibration.calibration_curve`` has them with ``strategy="quantile"``; equal
    probabilities stay together, so that fewer bins may be left.

    Args:
        confidences_N: Probability of each answer.
        right_N: Whether it is right.
        log_loss: Told with it.
    """
    if not len(right_N):
        return Reliability(
            counts=(), confidences=(), accuracies=(), error=math.nan, by_chance=math.nan, log_loss=log_loss
        )
    edges = np.quantile(confidences_N, np.linspace(0, 1, NUM_BINS + 1))
    bins_N = np.searchsorted(edges[1:-1], confidences_N)
    counts = np.bincount(bins_N, minlength=NUM_BINS)
    filled = counts > 0
    counts_B = counts[filled]
    confidences_B = np.bincount(bins_N, weights=confidences_N, minlength=NUM_BINS)[filled] / counts_B
    accuracies_B = np.bincount(bins_N, weights=right_N, minlength=NUM_BINS)[filled] / counts_B
    shares_B = counts_B / counts_B.sum()
    # Of a share p among n, the mean distance from p is about sqrt(2 p (1 - p) / (pi n)).
    scatter_B = np.sqrt(2 * confidences_B * (1 - confidences_B).clip(min=0) / (math.pi * counts_B))
    return Reliability(
        counts=tuple(counts_B.tolist()),
        confidences=tuple(confidences_B.tolist()),
        accuracies=tuple(accuracies_B.tolist()),
        error=float(shares_B @ np.abs(accuracies_B - confidences_B)),
        by_chance=float(shares_B @ scatter_B),
        log_loss=log_loss,
    )


def coverage(
    confidences_N: Floats, right_N: Rights, *, abstain_below: Sequence[float] = ABSTAIN_BELOW
) -> tuple[Coverage, ...]:
    """Say how many answers are left, and how many of these are right, if those below a probability are held back."""
    rows: list[Coverage] = []
    for bound in abstain_below:
        kept_N = confidences_N >= bound
        row = Coverage(
            abstain_below=bound,
            coverage=float(kept_N.mean()) if len(kept_N) else 0.0,
            accuracy=float(right_N[kept_N].mean()) if kept_N.any() else None,
        )
        if row.coverage == 1:
            rows.clear()  # nothing is held back below a higher one either
        rows.append(row)
    return tuple(rows)


def _split(split: Answered, temperature: float) -> SplitCalibration:
    right_N = split.logits_NC.argmax(axis=1) == split.labels_N
    plain, scaled = (
        probabilities(split.logits_NC, temperature=t).max(axis=1, initial=0.0) for t in (1.0, temperature)
    )
    return SplitCalibration(
        num_texts=len(right_N),
        before=reliability(plain, right_N, log_loss=log_loss(split.logits_NC, split.labels_N)),
        after=reliability(scaled, right_N, log_loss=log_loss(split.logits_NC / temperature, split.labels_N)),
        coverage=coverage(scaled, right_N),
    )


def _rounded(value: Any) -> Any:
    """Round all fractions, and leave out what is no number: JSON has none."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
