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


def precision(device: Device) -> torch.autocast:
    """Compute in bfloat16 where there are tensor cores for it: weights stay float32, and so do all other devices."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")


def computes_bfloat16(device: Device) -> bool:
    """Tell whether a GPU has arithmetic for bfloat16: NVIDIA's of compute capability 8.0 (Ampere) or later, all of AMD's.

    Older ones, a T4 or a V100, emulate it: they take it, and are slower with it than with float32.
    """
    if kind(device) != "cuda":
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def kind(device: Device) -> str:
    """Return a device without its number: ``cuda`` of ``cuda:1``."""
    return device.partition(":")[0]


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
