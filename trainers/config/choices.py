"""Closed choices of a configuration, and the names that several rooms write: metrics, devices, packaged sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator

Pooling = Literal["mean", "cls", "model"]
Schedule = Literal["constant", "linear"]
Clean = Literal["html", "spaces", "none", "0.1"]
"""What is cut out of texts: HTML's tags and entities, superfluous white space and what nobody sees; these without the
markup; nothing; or what version 0.1 cut out, which took ``<int>`` and ``<user>`` for tags, too."""

FixedPrecision = Literal["float32", "bfloat16"]
Precision = Literal["auto", "float32", "bfloat16"]
Loss = Literal["cross_entropy", "focal"]
HeadStart = Literal["auto", "random", "fitted", "probe"]
HeadWeights = Literal["uniform", "glorot"]
HeadLogits = Literal["classes", "one"]
Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "micro_f1",
    "subset_accuracy",
    "average_precision",
    "quadratic_kappa",
]
Task = Literal["one_label", "several_labels"]
"""Whether a text has exactly one label, or any number of them."""

METRIC_NAMES: Mapping[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "average_precision": "average precision",
    "quadratic_kappa": "quadratic kappa",
}
"""How a metric is called where people read of it."""

TASK_METRICS: Mapping[Task, tuple[Metric, ...]] = {
    "one_label": ("accuracy", "balanced_accuracy", "macro_f1", "average_precision", "quadratic_kappa"),
    "several_labels": ("micro_f1", "macro_f1", "subset_accuracy", "average_precision"),
}
"""The metrics of each task, the default first; of one label a text, the last two need more to be said of the classes."""

PACKAGED_ENCODER = "minilm"
PACKAGED_SOURCES = ("imdb", "rotten_tomatoes")
FILE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
SMALLEST_SPLIT = 10
MOST_FOLDS = 10

_DEVICE = re.compile(r"cpu|cuda(:(0|[1-9]\d*))?|mps")


def checked_device(name: str) -> str:
    """Return a device's name if it is one, whether this machine has it or not.

    Raises:
        ValueError: It is none.
    """
    if not _DEVICE.fullmatch(name):
        raise ValueError(f"must be cpu, cuda, cuda:N (the GPU of number N) or mps, got {name!r}")
    return name


Device = Annotated[str, AfterValidator(checked_device)]
