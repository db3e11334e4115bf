"""What a fit minimises: cross-entropy or focal loss, with weights of the classes.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainers.config import TrainConfig
from trainers.errors import InputError, nearest
from trainers.fit.several import positive_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def mean_loss(
    logits_NC: Tensor,
    labels_N: Tensor,
    *,
    weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma: float | None = None,
) -> Tensor:
    """Return the mean loss in nats, weighted by class if asked for; NaN for no text.

    Args:
        logits_NC: Of the texts.
        labels_N: Their classes, or 0 and 1 for each of several labels: then it is the mean of the binary cross-entropies.
        weights_C: Of the classes; of several labels, of the texts that have it (torch's ``pos_weight``).
        label_smoothing: Share of the target spread over all classes, or over having a label and not.
        gamma: Of the focal loss; None is cross-entropy, as 0 is up to rounding.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    if labels_N.ndim == 2:
        target_NC = labels_N.to(logits_NC) * (1 - label_smoothing) + label_smoothing / 2
        if gamma is None:
            return binary_cross_entropy_with_logits(logits_NC, target_NC, pos_weight=weights_C)
        return focal_label_losses(logits_NC, target_NC, gamma, weights_C=weights_C).mean()
    if gamma is None:
        return cross_entropy(logits_NC, labels_N, weight=weights_C, label_smoothing=label_smoothing)
    losses_N = focal_losses(logits_NC, labels_N, gamma, weights_C=weights_C, label_smoothing=label_smoothing)
    return losses_N.mean() if weights_C is None else losses_N.sum() / weights_C[labels_N].sum()


def focal_losses(
    logits_NC: Tensor,
    labels_N: Tensor,
    gamma: float,
    *,
    weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return each text's focal loss in nats, losses_N: cross-entropy times (1 - probability) to the power of gamma.

    Source: Lin et al., Focal loss for dense object detection, 2017 (arXiv:1708.02002).
    """
    logs_NC = logits_NC.log_softmax(dim=1)
    doubt_NC = (-logs_NC.expm1()).clamp(min=1e-12)  # at 0 the slope of a power below 1 is infinite
    losses_NC = -(doubt_NC**gamma) * logs_NC
    if weights_C is not None:
        losses_NC = losses_NC * weights_C
    own_N = losses_NC.gather(1, labels_N[:, None]).squeeze(1)
    return own_N if not label_smoothing else own_N.lerp(losses_NC.mean(dim=1), label_smoothing)


def focal_label_losses(
    logits_NC: Tensor, target_NC: Tensor, gamma: float, *, weights_C: Tensor | None = None
) -> Tensor:
    """Return the focal loss of each text and label in nats, losses_NC: binary cross-entropy times doubt to the power of gamma.

    Doubt is 1 - probability of what is true of the label: that the text has it, or that it has not.

    Args:
        logits_NC: Of the texts.
        target_NC: 1 where a text has a label and 0 elsewhere; what lies between counts in part for both.
        gamma: See there.
        weights_C: Of the texts that have it.

    Source: as for ``focal_losses``; torchvision has it as ``sigmoid_focal_loss``.
    """
    from torch.nn.functional import logsigmoid

    has_NC, lacks_NC = (
        -(signed_NC.neg().sigmoid().clamp(min=1e-12) ** gamma) * logsigmoid(signed_NC)
        for signed_NC in (logits_NC, -logits_NC)
    )
    return target_NC * (has_NC if weights_C is None else weights_C * has_NC) + (1 - target_NC) * lacks_NC


def check_class_weights(config: TrainConfig, names: Sequence[str]) -> None:
    """Make sure that a table of weights has one for each class, and no others.

    Raises:
        InputError: It does not.
    """
    weights = config.class_weights
    if not isinstance(weights, dict) or set(weights) == set(names):
        return
    unknown, missing = (sorted(a - b) for a, b in ((set(weights), set(names)), (set(names), set(weights))))
    said = [
        f"{what} {', '.join(map(repr, found[:5]))}{f' and {len(found) - 5} more' if len(found) > 5 else ''}"
        for what, found in (("unknown", unknown), ("missing", missing))
        if found
    ]
    hint = nearest(unknown[0], missing) if unknown else ""
    raise InputError(
        f"class_weights must give each of the {len(names)} classes its weight, got {' and '.join(said)}{hint}; fix the table"
    )


def class_weights(
    config: TrainConfig, labels_N: npt.NDArray[np.int64], *, names: Sequence[str]
) -> npt.NDArray[np.float64] | None:
    """Return weights_C of the classes in the loss, by which the average text weighs 1; None to weigh all alike.

    Of several labels they are what a text that has a label weighs, where one without it weighs 1.

    Args:
        config: Says how.
        labels_N: Of the training texts.
        names: Of the classes.

    Raises:
        InputError: As for ``check_class_weights``.
    """
    if config.class_weights is None:
        return None
    if config.class_weights == "balanced":
        return balanced_weights(labels_N, num_classes=len(names))
    check_class_weights(config, names)
    weights_C = np.array([config.class_weights[name] for name in names], dtype=np.float64)
    if labels_N.ndim == 2:
        return weights_C
    scaled_C: npt.NDArray[np.float64] = weights_C / weights_C[labels_N].mean()
    return scaled_C


def balanced_weights(labels_N: npt.NDArray[np.int64], *, num_classes: int) -> npt.NDArray[np.float64]:
    """Return weights_C that give every class the same sum of weights, and the average text a weight of 1.

    A class without a text has nothing to weigh, and gets 0. Of several labels: see ``positive_weights``.
    """
    if labels_N.ndim == 2:
        return positive_weights(labels_N)
    texts_C = np.bincount(labels_N, minlength=num_classes)
    return np.where(texts_C > 0, len(labels_N) / (num_classes * np.maximum(texts_C, 1)), 0.0)
