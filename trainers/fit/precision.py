"""In which number format a fit computes: float32, or bfloat16 where the machine has arithmetic for it.

In bfloat16 the encoder's layers compute under autocast. Weights, optimiser, pooling, head and loss stay float32.

Shapes: B texts, H heads, T tokens of the longest one, E size of a head.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainers.config import Device, FixedPrecision, Precision, TrainConfig
from trainers.fit.device import computes_bfloat16, kind

LEAST_GAIN = 1.2
"""How many times as fast a product in bfloat16 must be for ``auto`` to take it."""


def choose_precision(wanted: Precision | None, device: Device) -> FixedPrecision:
    """Return the number format that a fit on ``device`` computes in.

    ``auto`` is bfloat16 where the device has arithmetic for it and a product of matrices is indeed faster.
    bfloat16 where there is none is float32: emulated products are up to 500 times slower (pytorch#146508). None is what
    version 0.1.0 did: bfloat16 on CUDA, float32 elsewhere.
    """
    if wanted is None:
        wanted = "bfloat16" if kind(device) == "cuda" else "float32"
    if wanted == "float32" or not computes_bfloat16(device):
        return "float32"
    return "bfloat16" if wanted == "bfloat16" or bfloat16_gain(device) >= LEAST_GAIN else "float32"


def pinned(config: TrainConfig) -> TrainConfig:
    """Return a configuration with the number format that its device computes in; see ``choose_precision``."""
    return config.model_copy(update={"precision": choose_precision(config.precision, config.device)})


@functools.cache
def bfloat16_gain(device: Device) -> float:
    """Return how many times as fast a product of matrices is in bfloat16 as in float32, timed once a process."""

    def seconds(dtype: torch.dtype) -> float:
        left, right = (torch.ones(512, 512, dtype=dtype, device=device) for _ in range(2))
        times = []
        for _ in range(8):
            began = time.perf_counter()
            (left @ right)[0, 0].item()  # waits for a GPU, too
            times.append(time.perf_counter() - began)
        return min(times)

    return seconds(torch.float32) / seconds(torch.bfloat16)


@contextmanager
def computing_in(precision: Precision | None, device: Device) -> Iterator[None]:
    """Run the encoder's layers in a number format for a while; outputs may then be bfloat16."""
    if precision != "bfloat16":
        yield
    elif device == "cpu":
        with torch.autocast("cpu", dtype=torch.bfloat16), _PlainAttention():
            yield
    else:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            yield


class _PlainAttention(TorchFunctionMode):
    """Computes attention that is trained in bfloat16 by plain products of matrices.

    PyTorch's fused kernel for the processor is fast forwards, but its backward pass takes about four times as long in
    bfloat16 as in float32 (158 against 38 ms for 32 texts of 128 tokens, 12 heads; ten times at 32 tokens).
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and torch.is_grad_enabled():
            rest = {k: v for k, v in kwargs.items() if k not in {"attn_mask", "scale"}}
            if len(args) == 3 and not any(rest.values()):  # no dropout, nothing causal, no grouped heads
                return _attention(*args, mask_BHTT=kwargs.get("attn_mask"), scale=kwargs.get("scale"))
        return func(*args, **kwargs)


def _attention(
    query_BHTE: Tensor,
    key_BHTE: Tensor,
    value_BHTE: Tensor,
    *,
    mask_BHTT: Tensor | None,
    scale: float | None,
) -> Tensor:
    """Return what ``scaled_dot_product_attention`` does, without its rounding; a mask is boolean or is added."""
    # A mask is added rather than filled in, and the small queries are scaled: neither passes over all scores again, backwards.
    scores_BHTT = (query_BHTE * (scale or 1 / math.sqrt(query_BHTE.shape[-1]))) @ key_BHTE.transpose(-1, -2)
    if mask_BHTT is not None and mask_BHTT.dtype == torch.bool:
        least = torch.finfo(scores_BHTT.dtype).min
        mask_BHTT = torch.zeros_like(mask_BHTT, dtype=scores_BHTT.dtype).masked_fill(~mask_BHTT, least)
    if mask_BHTT is not None:
        scores_BHTT = scores_BHTT + mask_BHTT
    return scores_BHTT.softmax(dim=-1).to(value_BHTE.dtype) @ value_BHTE
