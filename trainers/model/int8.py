"""A classifier as ONNX with weights of eight bits: how much smaller and faster, and what it costs, measured on validation.

Shapes: N texts, B texts of a batch, T tokens of the longest one, C classes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from trainers.config import METRIC_NAMES, Metric
from trainers.errors import InputError
from trainers.fit import measure, probabilities, sigmoid, sorted_batches, tally
from trainers.model.description import decided_by
from trainers.model.onnx import inputs_of

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.modeling_frostline import FrostlineForSequenceClassification

NOTICEABLE = 0.005
"""A loss on validation above this is called out."""


@dataclass(frozen=True, kw_only=True)
class Int8:
    """What eight bits do to a model, each figure as (float32, int8).

    Attributes:
        num_bytes: Of the file.
        seconds: For all validation texts, one thread, in turns batch by batch.
        score: On validation, by the configuration's metric.
        num_texts: Of validation.
        num_changed: Texts that get another label, as the model decides.
    """

    num_bytes: tuple[int, int]
    seconds: tuple[float, float]
    score: tuple[float, float]
    num_texts: int
    num_changed: int

    @property
    def loss(self) -> float:
        """What the score loses; below zero if it gains."""
        return self.score[0] - self.score[1]

    @property
    def is_noticeable(self) -> bool:
        """Whether the loss is to be called out."""
        return self.loss > NOTICEABLE


def export_int8(
    model: FrostlineForSequenceClassification,
    onnx: Path,
    path: Path,
    split: Split,
    *,
    metric: Metric,
    num_classes: int,
    positive: int | None = None,
) -> Int8:
    """Write a model as ONNX whose matrices have eight bits, and measure what that does.

    Weights are rounded; what flows between them is rounded when it comes, so that no texts are needed (onnxruntime's dynamic
    quantisation).

    Args:
        model: In eval mode.
        onnx: As ``export_onnx`` wrote it.
        path: Of the file to be written.
        split: Validation.
        metric: By which it is scored.
        num_classes: C.
        positive: Index of the class that average precision is of; None if neither stands out.

    Raises:
        InputError: onnxruntime cannot round the model, or not run what came of it.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        with _quiet():
            quantize_dynamic(onnx, path, weight_type=QuantType.QInt8)
        sessions = [
            onnxruntime.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in (onnx, path)
        ]
        seconds, predicted = _predict(sessions, split, inputs_of(model), num_classes=num_classes)
    except Exception as error:  # onnxruntime raises dozens of kinds
        raise InputError(
            f"onnxruntime cannot write the model with eight bits ({type(error).__name__}: "
            f"{next(iter(str(error).strip().splitlines()), '')[:200]}); export it without --int8"
        ) from error
    several = split.labels_N.ndim == 2
    before_N, after_N = (
        decided_by(model, sigmoid(found_NC) if several else probabilities(found_NC.astype(np.float64)))
        for found_NC in predicted
    )
    labels_N = torch.from_numpy(split.labels_N)
    scores = [
        measure(tally(torch.from_numpy(found_NC), labels_N, metric=metric, positive=positive), metric=metric)
        for found_NC in predicted
    ]
    return Int8(
        num_bytes=(_size(onnx), _size(path)),
        seconds=(seconds[0], seconds[1]),
        score=(scores[0], scores[1]),
        num_texts=len(split),
        num_changed=int((before_N != after_N).reshape(len(split), -1).any(axis=1).sum()),
    )


def describe_int8(found: Int8, *, metric: Metric) -> Iterator[str]:
    """Say in lines what eight bits do."""
    before, after = found.score
    yield (
        f"int8: {found.num_bytes[1] / 2**20:.1f} MiB instead of {found.num_bytes[0] / 2**20:.1f}, "
        f"{found.seconds[0] / found.seconds[1]:.2f} times as fast on this processor (one thread), validation "
        f"{METRIC_NAMES[metric]} {after:.2%} instead of {before:.2%}, {found.num_changed} of {found.num_texts} labels change"
    )
    if found.is_noticeable:
        yield f"note: eight bits cost {100 * found.loss:.1f} points on validation, more than {100 * NOTICEABLE:g}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the terminal the advice that onnxruntime gives to everybody."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _predict(
    sessions: Sequence[Any], split: Split, names: Sequence[str], *, num_classes: int
) -> tuple[list[float], list[npt.NDArray[np.float32]]]:
    """Return seconds and logits_NC, session by session. In turns, since machines change their speed."""
    seconds = [0.0 for _ in sessions]
    predicted = [np.empty((len(split), num_classes), dtype=np.float32) for _ in sessions]
    for batch in sorted_batches(split.lengths_N):
        given = _batch(split.some(batch), names)
        for i, session in enumerate(sessions):
            began = time.perf_counter()
            [logits_BC] = session.run(None, given)
            seconds[i] += time.perf_counter() - began
            predicted[i][batch] = logits_BC
    return seconds, predicted


def _batch(split: Split, names: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    mask_BT = np.arange(split.lengths_N.max()) < split.lengths_N[:, None]
    parts = (split.ids_S, np.ones_like(split.ids_S), split.segments_S)
    found = {}
    for name, part_S in zip(names, parts, strict=False):
        filled_BT = np.zeros(mask_BT.shape, dtype=np.int64)
        assert part_S is not None  # noqa: S101
        filled_BT[mask_BT] = part_S
        found[name] = filled_BT
    return found


def _size(path: Path) -> int:
    """Return the bytes of a file, and of the one beside it that holds large weights."""
    beside = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)
