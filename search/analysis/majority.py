"""What always answering the most frequent class reaches, and whether a goal is worth anything beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.study import bound, percent
from trainers.config import METRIC_NAMES

if TYPE_CHECKING:
    from trainers.config import Metric

ALWAYS_MAJORITY = "always the majority"


def majority_of(data: Mapping[str, Any] | None, *, metric: Metric) -> float | None:
    """Return what the most frequent class of the training split reaches on validation, if it is the answer to each text.

    Args:
        data: The data page; None before the texts were read. By average precision it names the positive class.
        metric: By which it is measured.

    Returns:
        None where that is not known, or texts have several labels.
    """
    import numpy as np

    from trainers.fit import measure

    counts = (data or {}).get("texts_per_class") or {}
    if data is None or data.get("several_labels") or not {"train", "validation"} <= counts.keys():
        return None
    if any(sum(counts[split]) != data[split] or not data[split] for split in ("train", "validation")):
        return None
    if metric == "average_precision":  # all texts rank alike
        positive = data["class_names"].index(data["positive"])
        return float(counts["validation"][positive] / data["validation"])
    counts_CC = np.zeros((len(counts["train"]), len(counts["train"])), dtype=np.int64)
    counts_CC[:, int(np.argmax(counts["train"]))] = counts["validation"]
    return measure(counts_CC, metric=metric)


def call_out(goal: float, *, words: float | None, majority: float | None, metric: Metric) -> str | None:
    """Say that a goal asks for no more than is had without an encoder; None if it asks for more, or nothing is known.

    Args:
        goal: Validation figure to reach.
        words: That of the words alone.
        majority: That of the most frequent class.
        metric: Of them all.
    """
    name = METRIC_NAMES[metric]
    reached = [
        (figure, said)
        for figure, said in (
            (majority, f"always answering the most frequent class has {percent(majority)}"),
            (words, f"the words alone have {percent(words)}"),
        )
        if figure is not None and figure > goal
    ]
    if not reached:
        return None
    raised = (
        "No goal lies above that"
        if max(figure for figure, _ in reached) >= 1
        else "Raise goal.validation_accuracy above that"
    )
    return (
        f"The goal of {bound(goal)} validation {name} asks for little: "
        f"{' and '.join(said for _, said in reached)}. {raised}"
        + (", or take another metric." if majority is not None and majority > goal else ".")
    )
