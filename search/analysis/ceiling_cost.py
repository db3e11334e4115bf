"""What the ceiling cost a study in validation and what it bought, as far as that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from search.analysis.pareto import Checkpoint
from search.study import Count, Figure, Frozen
from trainers.config import METRIC_NAMES, Metric


class CheckpointNamed(Frozen):
    """A checkpoint that is named."""

    trial: Count = Field(description="Number of the trial.")
    epoch: float = Field(description="Age.")
    validation_accuracy: Figure = Field(description="By the metric.")
    training_accuracy: Figure = Field(description="By the metric.")
    exact: bool = Field(description="Whether that is over the whole split.")


class CeilingPrice(Frozen):
    """What the ceiling cost in validation and bought in gap."""

    best: CheckpointNamed = Field(description="The best checkpoint of all.")
    best_under: CheckpointNamed | None = Field(
        description="The best one under the ceiling; null if there is none."
    )
    points: float | None = Field(
        description="Validation of the first minus that of the second; null without the second."
    )
    gap: float | None = Field(
        description="Training minus validation, of the first minus that of the second; null without the second."
    )
    standard_error: float | None = Field(
        description="Of the points, as if the two had seen different texts: on the same ones it is less; of other groups, where texts belong to "
        "groups; null where unknown."
    )
    sentence: str = Field(description="The same in words.")


def price_of_ceiling(
    rows: Sequence[Checkpoint],
    *,
    ceiling: float,
    metric: Metric,
    data: Mapping[str, Any] | None,
    effect: float | None = None,
) -> CeilingPrice | None:
    """Compare the best checkpoint of all with the best one under the ceiling; None before anything was evaluated.

    Fits end where they are seen above the ceiling, so that what lies far above it was hardly looked at.

    Args:
        rows: What ``search.analysis.pareto.checkpoints`` lists.
        ceiling: Of the study.
        metric: Likewise.
        data: The data page; None before the texts were read.
        effect: Of groups, see ``error_of_difference``.
    """
    # Of many estimates, the luckiest would win.
    rows = [row for row in rows if row.num_validation_texts is None]
    best = max(rows, key=_rank, default=None)
    if best is None:
        return None
    under = max((row for row in rows if row.feasible), key=_rank, default=None)
    points = gap = error = None
    if under is not None:
        points = best.validation_accuracy - under.validation_accuracy
        gap = _gap(best) - _gap(under)
        figures = best.validation_accuracy, under.validation_accuracy
        error = error_of_difference(*figures, metric=metric, data=data, effect=effect)
    return CeilingPrice(
        best=_named(best),
        best_under=_named(under) if under else None,
        points=points,
        gap=gap,
        standard_error=error,
        sentence=_sentence(best, under, points, gap, error, ceiling=ceiling, metric=metric),
    )


def _rank(row: Checkpoint) -> tuple[float, float]:
    """Order checkpoints by validation, and equals by the lower training figure."""
    return row.validation_accuracy, -row.training_accuracy


def _gap(row: Checkpoint) -> float:
    return row.training_accuracy - row.validation_accuracy


def _named(row: Checkpoint) -> CheckpointNamed:
    return CheckpointNamed.model_validate(row.plain())


def error_of_difference(
    first: float,
    second: float,
    *,
    metric: Metric,
    data: Mapping[str, Any] | None,
    effect: float | None = None,
) -> float | None:
    """Return the standard error of the difference of two validation figures, as if of different texts: on the same ones it is less.

    Args:
        first: One of the figures.
        second: The other.
        metric: That both are measured by.
        data: The study's data page; None, or a class without a text, gives None.
        effect: What ``group_effect`` says, where texts belong to groups: the error is then one of other groups.
    """
    from trainers.fit import effective_count, standard_error

    texts = ((data or {}).get("texts_per_class") or {}).get("validation")
    total = data["validation"] if data and data.get("several_labels") else None
    counts_CC = np.diag(np.asarray(texts or [], dtype=np.int64))
    count = effective_count(counts_CC, metric=metric, of=total) if texts else 0
    if not count:
        return None
    return math.hypot(standard_error(first, count), standard_error(second, count)) * math.sqrt(effect or 1)


def _sentence(
    best: Checkpoint,
    under: Checkpoint | None,
    points: float | None,
    gap: float | None,
    error: float | None,
    *,
    ceiling: float,
    metric: Metric,
) -> str:
    limit = f"The ceiling of {100 * ceiling:g} %"
    if under is None or points is None or gap is None:
        return f"{limit}: no checkpoint was seen under it; the best of all has {_figures(best, metric)}."
    if best.feasible:
        return f"{limit} had no measured cost: the best checkpoint of all, {_figures(best, metric)}, lies under it."
    chance = "" if error is None else f" (standard error at most {100 * error:.2f})"
    return (
        f"{limit} cost {100 * points:.2f} points of validation{chance} and made the gap to training {100 * gap:.2f} points "
        f"smaller: the best checkpoint of all has {_figures(best, metric)}, the best under it {_figures(under, metric)}."
    )


def _figures(row: Checkpoint, metric: Metric) -> str:
    about = "" if row.exact else "~"
    return (
        f"{100 * row.validation_accuracy:.2f} % validation {METRIC_NAMES[metric]} at "
        f"{about}{100 * row.training_accuracy:.2f} % training (trial {row.trial}, epoch {row.epoch:.4g})"
    )
