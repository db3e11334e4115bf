"""Pure functions from predictions to figures.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def accuracy(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Return the share of texts whose highest logit is their label's; NaN for none."""
    if not len(labels_N):
        return math.nan
    return float((logits_NC.argmax(dim=1) == labels_N).double().mean())


def cross_entropy(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Return the mean negative log-likelihood in nats; NaN for no text."""
    return float(F.cross_entropy(logits_NC.double(), labels_N))


def standard_error(share: float, count: int) -> float:
    """Return the binomial standard error of a share seen among ``count`` texts."""
    return math.sqrt(max(share * (1 - share), 0.0) / count)
