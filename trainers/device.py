"""Where a fit is computed: the processor, a CUDA GPU or Apple's MPS; what differs between them stands here."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainers.config import Device
from trainers.errors import InputError

SHARE_FOR_FEATURES = 0.5
"""Of the free memory of a GPU, at most so much is given to the stored features of one split."""


def choose_device(wanted: Device | Literal["auto"]) -> Device:
    """Return the device to use: ``auto`` is CUDA if there is one, then MPS, then the processor.

    Raises:
        InputError: The device asked for is not there.
    """
    there: dict[Device, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(device for device, is_there in there.items() if is_there)
    if not there[wanted]:
        present = ", ".join(device for device, is_there in there.items() if is_there)
        raise InputError(
            f"device must be one that this machine has ({present}), got {wanted!r}; try --device auto"
        )
    return wanted


def computes_bfloat16(device: Device) -> bool:
    """Tell whether a device has arithmetic for bfloat16; some emulate it, far slower than float32."""
    if device == "cpu":
        # Private names: PyTorch has no public ones. Without AVX-512 bf16 or AMX, products are emulated.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def generators(device: Device) -> list[int]:
    """List the GPUs whose random state a fit must leave as it was; torch cannot set MPS's aside."""
    return [torch.cuda.current_device()] if device == "cuda" else []


def resident(values: Tensor, device: Device) -> Tensor:
    """Return stored features in the memory of the GPU if they fit into its share, else where they are."""
    if device != "cuda":
        return values
    free_bytes, _ = torch.cuda.mem_get_info()
    fits = values.numel() * values.element_size() <= SHARE_FOR_FEATURES * free_bytes
    return values.to(device) if fits else values


def moved(tensor: Tensor, device: Device) -> Tensor:
    """Return a batch's tensor on the device; to CUDA through pinned memory, so that the copy holds nothing up."""
    if device == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
