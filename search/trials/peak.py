"""The best rate at which this machine multiplies matrices: measured once, then kept beside the feature cache."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from search.study import processor_name
from trainers.errors import InputError
from trainers.files import write_atomically

if TYPE_CHECKING:
    from trainers.config import FixedPrecision

PEAK_SECONDS = 1.0
PEAK_SECONDS_AGAIN = 0.1
PEAK_SIZE = 2048


def measure_peak_flops(*, precision: FixedPrecision = "float32", seconds: float = PEAK_SECONDS) -> float:
    """Return the best rate of a large product of matrices on all cores of the processor, FLOP/s.

    What else runs on the machine lowers it.

    Args:
        precision: Of the matrices.
        seconds: To go on for; one product at least is timed.
    """
    import torch

    dtype = getattr(torch, precision)
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    until = time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIZE**3 / best


def known_peak_flops(directory: Path, *, precision: FixedPrecision) -> float:
    """Return the best rate that was ever measured on this kind of machine, FLOP/s; see ``measure_peak_flops``.

    The first time takes a second; later ones take a tenth of it, in case the machine was busy before.

    Args:
        directory: Of the cache, where it is kept; if it cannot be, it is measured again.
        precision: Of the matrices.
    """
    import torch

    path = directory / "peak.json"
    machine = f"{processor_name()}, {os.cpu_count()} cores, torch {torch.__version__}, {precision}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    before = known.get(machine, 0.0)
    seconds = PEAK_SECONDS_AGAIN if before else PEAK_SECONDS
    best = max(before, measure_peak_flops(precision=precision, seconds=seconds))
    if best > before:
        with contextlib.suppress(InputError):
            write_atomically(path, json.dumps({**known, machine: best}).encode())
    return best
