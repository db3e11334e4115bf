"""Where a fit is computed: the processor, a CUDA GPU or Apple's MPS; what differs between them stands here."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from trainers.config import Device
from trainers.errors import FitError, InputError

SHARE_FOR_FEATURES = 0.5
"""Largest share of a GPU's free memory for the stored features of one split."""

OUT_OF_MEMORY = re.compile(
    r"out.?of.?memory"  # CUDA's, HIP's, MPS's, the driver's own
    r"|alloc(ation)?_?failed"  # CUBLAS_STATUS_ALLOC_FAILED; so cuDNN, cuSPARSE, cuFFT, hipBLAS, MIOpen
    r"|rocblas_status_memory_error|ErrorMemoryAllocation"
    r"|can(no|')t allocate memory|not enough memory"  # the processor: Linux, Windows
    r"|invalid buffer size",  # MPS: more than it gives at once
    re.IGNORECASE,
)
"""How libraries call it in errors of other kinds."""

NO_ROOM_TO_START = re.compile(
    r"(CUDNN|MIOPEN)_?STATUS_?(NOT_?SUPPORTED|INTERNAL_?ERROR)|(CU|HIP)BLAS_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)
"""What some of them say instead where the memory is full; elsewhere the same words mean a bug."""

NEARLY_FULL = 0.03
"""Of a GPU's memory: with less free, these words are taken to mean it. A library's workspace takes tens of MiB."""


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
    numbered = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if there["cuda"] else []
    present = [device for device, is_there in there.items() if is_there]
    if wanted not in (*present, *numbered):
        known = ", ".join([*numbered, *present] if len(numbered) > 1 else present)
        raise InputError(
            f"device must be one that this machine has ({known}), got {wanted!r}; try --device auto"
        )
    return wanted


def cuda_devices() -> tuple[str, ...]:
    """Name the CUDA devices that this process sees, as ``CUDA_VISIBLE_DEVICES`` does; CUDA is not started for that."""
    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = range(count) if listed is None else listed.split(",")
    return tuple(str(name).strip() for name in names)[:count]


def computes_bfloat16(device: Device) -> bool:
    """Tell whether a device has arithmetic for bfloat16.

    Of NVIDIA's GPUs those of compute capability 8.0 (Ampere) or later have it, of AMD's all, of processors those with
    AVX-512 bf16 or AMX. Others emulate it: they take it, and are slower with it than with float32, a T4 or a V100
    somewhat, a processor up to 500 times (pytorch#146508).
    """
    if device == "cpu":  # private names: there are no public ones
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if kind(device) != "cuda":
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def kind(device: Device) -> str:
    """Return a device without its number: ``cuda`` of ``cuda:1``."""
    return device.partition(":")[0]


def generators(device: Device) -> list[int]:
    """List the GPUs whose random state a fit must leave as it was; torch cannot set MPS's aside."""
    if kind(device) != "cuda":
        return []
    index = torch.device(device).index
    return [torch.cuda.current_device() if index is None else index]


def resident(values: Tensor, device: Device) -> Tensor:
    """Return stored features in the memory of the GPU if they fit into its share, else where they are."""
    if kind(device) != "cuda":
        return values
    fits = values.numel() * values.element_size() <= SHARE_FOR_FEATURES * free_bytes(device)
    return values.to(device) if fits else values


def free_bytes(device: Device) -> int:
    """Return what this process may still take of a CUDA GPU's memory, with what torch holds back for reuse."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def moved(tensor: Tensor, device: Device) -> Tensor:
    """Return a batch's tensor on the device; to CUDA through pinned memory, so that the copy holds nothing up."""
    if kind(device) == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def clock(device: Device) -> float:
    """Return ``time.perf_counter()`` seconds when the device has done all that it was given."""
    if kind(device) == "cuda":
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


@contextmanager
def named_failures(device: Device) -> Iterator[None]:
    """Turn the many ways in which memory runs out into one named failure."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise FitError("out of memory") from error
    except (RuntimeError, OSError) as error:
        words = str(error)
        if OUT_OF_MEMORY.search(words) or (NO_ROOM_TO_START.search(words) and _is_nearly_full(device)):
            raise FitError("out of memory") from error
        raise


def _is_nearly_full(device: Device) -> bool:
    if kind(device) != "cuda":
        return False
    free, total = torch.cuda.mem_get_info(device)  # what torch holds back is no room for others
    return free < NEARLY_FULL * total
