"""Pure functions from predictions to figures.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainers.config import Metric, Task
from trainers.fit.losses import focal_label_losses, focal_losses, mean_loss
from trainers.fit.ordinal import median_class, quadratic_kappa
from trainers.fit.several import Answers, measure_several, one_column

if TYPE_CHECKING:
    from torch import Tensor

Confusion = npt.NDArray[np.int64]
"""counts_CC: texts of the row's class that were taken for the column's. Those of parts of a split add up."""


def answers(logits_NC: Tensor, *, metric: Metric) -> Tensor:
    """Return the class that each text is taken for, answers_N: that of the highest logit; by quadratic kappa the median class."""
    if metric != "quadratic_kappa":
        return logits_NC.argmax(dim=1)
    from torch import from_numpy

    median_N = median_class(logits_NC.detach().double().softmax(dim=1).cpu().numpy())
    return from_numpy(median_N).to(logits_NC.device)


def confusion(logits_NC: Tensor, labels_N: Tensor, *, metric: Metric = "accuracy") -> Confusion:
    """Count the texts of each class by the class that they are taken for, counts_CC."""
    from torch import bincount  # here, since a report needs figures and no torch

    num_classes = logits_NC.shape[1]
    cells_N = labels_N * num_classes + answers(logits_NC, metric=metric)
    counts_CC: Confusion = bincount(cells_N, minlength=num_classes**2).reshape(num_classes, -1).cpu().numpy()
    return counts_CC


Tally = Confusion | Answers
"""What a metric is made of: the confusion of one label a text, all answers of several."""


def tally(
    logits_NC: Tensor, labels_N: Tensor, *, metric: Metric = "accuracy", positive: int | None = None
) -> Tally:
    """Return what a metric is made of; the shape of the labels tells whether a text has one or several.

    Average precision of two classes is made of the probabilities of the positive one, as of a label that a text has or has not.
    """
    ranked = ranked_class(metric, positive)
    if ranked is not None:
        probabilities_NC = logits_NC.detach().double().softmax(dim=1).cpu().numpy()
        return Answers(
            one_column(labels_N.cpu().numpy(), positive=ranked), probabilities_NC[:, ranked : ranked + 1]
        )
    if labels_N.ndim == 1:
        return confusion(logits_NC, labels_N, metric=metric)
    return Answers(labels_N.cpu().numpy(), logits_NC.detach().double().sigmoid().cpu().numpy())


def no_tally(
    num_classes: int, *, task: Task, metric: Metric = "accuracy", positive: int | None = None
) -> Tally:
    """Return the tally of no text."""
    if ranked_class(metric, positive) is not None:
        return Answers(np.zeros((0, 1), dtype=np.int64), np.zeros((0, 1)))
    if task == "one_label":
        return np.zeros((num_classes, num_classes), dtype=np.int64)
    return Answers(np.zeros((0, num_classes), dtype=np.int64), np.zeros((0, num_classes)))


def together(first: Tally, second: Tally) -> Tally:
    """Return the tally of the texts of two parts of a split."""
    if isinstance(first, Answers) and isinstance(second, Answers):
        return first + second
    assert not isinstance(first, Answers)  # noqa: S101
    assert not isinstance(second, Answers)  # noqa: S101
    return first + second


def num_texts(counts: Tally) -> int:
    """Return how many texts were counted."""
    return len(counts) if isinstance(counts, Answers) else int(counts.sum())


def ranked_class(metric: Metric, positive: int | None) -> int | None:
    """Return the class by whose probability a metric of two classes ranks texts; None where it does not."""
    return positive if metric == "average_precision" else None


def is_share(metric: Metric, task: Task) -> bool:
    """Tell whether a metric is a share of texts, or a mean of such, of which a sample tells how far it may be off."""
    return task == "one_label" and metric not in {"average_precision", "quadratic_kappa"}


def measure(counts_CC: Tally, *, metric: Metric) -> float:
    """Return accuracy, balanced accuracy, macro-F1 or quadratic kappa; NaN for no text. Of labels: see ``measure_several``.

    Balanced accuracy is the mean over the classes that have a text; macro-F1 over those that have a text or
    were predicted, 0 for a class without a text that is right. All as scikit-learn has them.

    Raises:
        ValueError: The metric is none of these.
    """
    if isinstance(counts_CC, Answers):
        return measure_several(counts_CC, metric=metric)
    if not counts_CC.sum():
        return math.nan
    right_C, texts_C, predicted_C = counts_CC.diagonal(), counts_CC.sum(axis=1), counts_CC.sum(axis=0)
    if metric == "accuracy":
        return int(right_C.sum()) / int(texts_C.sum())
    if metric == "balanced_accuracy":
        return float((right_C[texts_C > 0] / texts_C[texts_C > 0]).mean())
    if metric == "quadratic_kappa":
        return quadratic_kappa(counts_CC)
    if metric != "macro_f1":
        raise ValueError(f"no metric of which class was taken for which, got {metric!r}")
    seen_C = texts_C + predicted_C > 0
    return float((2 * right_C[seen_C] / (texts_C + predicted_C)[seen_C]).mean())


def cross_entropy(
    logits_NC: Tensor, labels_N: Tensor, *, weights_C: Tensor | None = None, gamma: float | None = None
) -> float:
    """Return the mean negative log-likelihood in nats, weighted by class if asked for; NaN for no text.

    With ``gamma`` it is the focal loss. Of several labels it is the mean over texts and labels.
    """
    logits_NC = logits_NC.double()
    weights_C = None if weights_C is None else weights_C.to(logits_NC)
    return float(mean_loss(logits_NC, labels_N, weights_C=weights_C, gamma=gamma))


def losses(
    logits_NC: Tensor, labels_N: Tensor, *, weights_C: Tensor | None = None, gamma: float | None = None
) -> npt.NDArray[np.float64]:
    """Return each text's negative log-likelihood in nats, losses_N; with ``gamma`` its focal loss.

    Of several labels it is the mean over them, in which ``weights_C`` count.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy as loss

    logits_NC = logits_NC.double()
    if labels_N.ndim == 2:
        weights_C = None if weights_C is None else weights_C.double()
        if gamma is None:
            losses_NC = binary_cross_entropy_with_logits(
                logits_NC, labels_N.double(), pos_weight=weights_C, reduction="none"
            )
        else:
            losses_NC = focal_label_losses(logits_NC, labels_N.double(), gamma, weights_C=weights_C)
        mean_N: npt.NDArray[np.float64] = losses_NC.mean(dim=1).numpy()
        return mean_N
    if gamma is not None:
        focal_N: npt.NDArray[np.float64] = focal_losses(logits_NC, labels_N, gamma).numpy()
        return focal_N
    losses_N: npt.NDArray[np.float64] = loss(logits_NC, labels_N, reduction="none").numpy()
    return losses_N


def weighted_mean(
    values_N: npt.NDArray[np.float64], *, weights_N: npt.NDArray[np.float64] | None = None, of: int
) -> tuple[float, float]:
    """Return the mean of a random sample, and its standard error as an estimate of the mean of ``of`` texts, 0 for all.

    Weighted, it is a ratio, whose error is that of its linear part. Of a single text among several the error is infinite.
    """
    count = len(values_N)
    weights_N = np.ones(count) if weights_N is None else weights_N
    total = float(weights_N.sum())
    mean = float((weights_N * values_N).sum()) / total if total else 0.0
    if count == of:
        return mean, 0.0
    if count < 2 or not total:
        return mean, math.inf
    residuals_N = weights_N * (values_N - mean) * count / total
    variance = float((residuals_N**2).sum()) / (count - 1)
    return mean, math.sqrt(variance / count * (1 - count / of))


def is_clear_of(
    bound: float, counts_CC: Tally, *, metric: Metric, of: int | None = None, errors: float = 2.0
) -> bool:
    """Tell whether the metric of a random sample lies more than ``errors`` standard errors from a bound.

    Args:
        bound: On the metric.
        counts_CC: Of the sample.
        metric: Of which it is one.
        of: Texts that the sample was drawn from; the fewer are left, the less the metric of them all may differ. None
            means many.
        errors: How many.
    """
    assert not isinstance(counts_CC, Answers)  # noqa: S101
    count = effective_count(counts_CC, metric=metric)
    if not count:
        return False
    left = 1.0 if of is None else 1 - int(counts_CC.sum()) / of
    error = standard_error(bound, count) * math.sqrt(left)
    return abs(measure(counts_CC, metric=metric) - bound) > errors * error


def interval(counts_CC: Tally, *, metric: Metric) -> tuple[float, float]:
    """Return where the metric of all texts lies with 95 % confidence, given that of a random sample: Wilson's interval.

    It takes the sample for one of many texts, and is a little wide where they are few. A class without a text in the
    sample leaves anything possible.
    """
    assert not isinstance(counts_CC, Answers)  # noqa: S101
    count = effective_count(counts_CC, metric=metric)
    if not count:
        return (-1.0 if metric == "quadratic_kappa" else 0.0), 1.0
    z, share = NormalDist().inv_cdf(0.975), measure(counts_CC, metric=metric)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def standard_error(share: float, count: float) -> float:
    """Return the binomial standard error of a share seen among ``count`` texts."""
    return math.sqrt(max(share * (1 - share), 0.0) / count)


def effective_count(counts_CC: Confusion, *, metric: Metric, of: int | None = None) -> float:
    """Return how many texts, evenly spread over the classes, would tell the metric as exactly.

    For accuracy that is all of them. A mean over C classes of n_c texts each, all equally often right, has the
    variance of a share among C^2 / sum(1 / n_c) texts: balanced accuracy's. Macro-F1's was never found to be
    larger in random cases, and is often smaller where classes are uneven. A class without a text makes it 0,
    which tells nothing.

    The texts of several labels, on the diagonal, may add up to more than there are. Subset accuracy is a share of all
    texts. Micro-F1's variance is at most that of a share among as many texts as have labels, counted for each (delta method),
    if these are right or wrong independently; no more are taken to be so than there are texts. Average precision is treated
    as macro-F1 is; of two classes, as a share of the texts of the rarer one. Quadratic kappa is nothing like a share: 0.

    Args:
        counts_CC: Of the texts.
        metric: Which one.
        of: Texts in all, where they may have several labels.
    """
    texts_C = counts_CC.sum(axis=1)
    most = int(texts_C.sum()) if of is None else of
    if metric == "subset_accuracy":
        return most
    if metric == "micro_f1":
        return min(most, int(texts_C.sum()))
    if metric == "accuracy":
        return int(texts_C.sum())
    if metric == "quadratic_kappa":
        return 0.0
    if metric == "average_precision" and of is None:
        return int(texts_C.min())
    if (texts_C == 0).any():
        return 0.0
    return min(float(len(texts_C) ** 2 / (1 / texts_C).sum()), math.inf if of is None else of)
