"""Which texts of a sample a look got right, as a short string that fits into a database.

So that two fits can be compared text by text: what is hard for both then cancels out.
"""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

Hits = npt.NDArray[np.bool_]
"""hits_N: whether each of N texts was right."""


def packed(hits_N: Hits) -> str:
    """Write hits as their number, a colon and their bits in base64: 300 texts are 56 characters."""
    return f"{len(hits_N)}:{base64.b64encode(np.packbits(hits_N).tobytes()).decode('ascii')}"


def unpacked(text: str) -> Hits:
    """Read what ``packed`` wrote."""
    count, _, bits = text.partition(":")
    return np.unpackbits(np.frombuffer(base64.b64decode(bits), dtype=np.uint8), count=int(count)).astype(bool)
