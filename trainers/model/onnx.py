"""A classifier as ONNX, compared in onnxruntime with what it was made of before anybody gets it.

Shapes: B texts, T tokens of the longest one, C classes.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-4
"""Logits of onnxruntime and of torch may differ by this."""

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
INPUTS = ("input_ids", "attention_mask")
SEGMENTS = "token_type_ids"
SHORTEST = 3
"""Tokens of a text of one token, with those before and after it."""


class _Logits(nn.Module):
    """The model with tensors alone as inputs and output."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits_BC."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        logits_BC: Tensor = self.model(**given).logits
        return logits_BC


def check_packages() -> None:
    """Check that what ONNX needs is installed.

    Raises:
        InputError: It is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX needs the packages {', '.join(PACKAGES)}, of which {missing[0]} is not installed; run: "
            "pip install 'frostline[onnx]'"
        )


def export_onnx(model: PreTrainedModel, path: Path) -> None:
    """Write a classifier as ONNX, for any number of texts of any length, and check it there.

    Args:
        model: With ``max_tokens`` in its configuration; in eval mode.
        path: Of the file. Weights of more than 2 GB stand beside it, in a file of the same name and ``.data``.

    Raises:
        InputError: Packages are missing, the model cannot be written, or what was written gives other logits.
    """
    check_packages()
    module = _Logits(model).eval()
    any_shape, names = {0: "batch", 1: "length"}, inputs_of(model)
    try:
        with _quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                module,
                _texts(model, count=2, length=SHORTEST + 2),
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(any_shape,) * len(names),
            )
            assert program is not None  # noqa: S101
            program.save(path)
    except Exception as error:  # the exporter raises dozens of kinds
        raise InputError(
            f"the model, a {_family(model)}, cannot be written as ONNX ({type(error).__name__}: "
            f"{next(iter(str(error).strip().splitlines()), '')[:200]}); export it without"
        ) from error
    difference = furthest(model, path)
    if not difference <= TOLERANCE:
        raise InputError(
            f"the logits of ONNX must be within {TOLERANCE:g} of the model's own, those of this {_family(model)} differ by "
            f"{difference:.1e}; export it without"
        )


@torch.no_grad()
def furthest(model: PreTrainedModel, path: Path) -> float:
    """Return by how much the logits of an ONNX file and of its model differ, over texts of many lengths.

    Raises:
        InputError: onnxruntime cannot run the file.
    """
    import onnxruntime

    longest = int(model.config.max_tokens)
    shapes = [(1, SHORTEST), (1, longest), (2, SHORTEST + 5), (3, longest), (7, longest // 2 + 1)]
    if model.config.start_tokens is not None:  # else it has no place for longer ones
        shapes += [(2, longest + 1), (5, 3 * longest + 2)]
    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for count, length in shapes:
            texts = _texts(model, count=count, length=length)
            named = {name: tensor.numpy() for name, tensor in zip(inputs_of(model), texts, strict=True)}
            difference = torch.from_numpy(session.run(None, named)[0]) - _Logits(model)(*texts)
            largest = max(largest, float(difference.abs().max()))
    except Exception as error:  # onnxruntime raises a class for each of its codes
        raise InputError(
            f"onnxruntime cannot run what was written of the {_family(model)} ({type(error).__name__}: "
            f"{next(iter(str(error).splitlines()), '')[:200]}); export it without ONNX"
        ) from error
    return largest


def inputs_of(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the graph's inputs: of pairs, segments are one where the encoder has them."""
    return (*INPUTS, SEGMENTS) if getattr(model.config, "segments", False) else INPUTS


def _texts(model: PreTrainedModel, *, count: int, length: int) -> tuple[Tensor, ...]:
    """Return ids_BT and mask_BT, and segments_BT where there are any, of random texts, the first one as long as asked for and each further one shorter."""
    rows = len(model.get_input_embeddings().weight)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(count * length)
    ids_BT = torch.randint(rows, (count, length), generator=draw)
    lengths_B1 = (length - torch.arange(count)[:, None] * length // count).clamp(min=SHORTEST)
    mask_BT = (torch.arange(length) < lengths_B1).long()
    padding = model.config.encoder.get("pad_token_id") or 0
    ids_BT = torch.where(mask_BT.bool(), ids_BT, padding)
    if SEGMENTS not in inputs_of(model):
        return ids_BT, mask_BT
    return ids_BT, mask_BT, (torch.arange(length) >= lengths_B1 // 2).long() * mask_BT


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep off the terminal what the exporter says of its own future, and of packages that it can do without."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _family(model: PreTrainedModel) -> str:
    return str(model.config.encoder["model_type"])
