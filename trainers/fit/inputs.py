"""Batches of one split, entering a network at some depth: token ids, or what frozen layers gave.

Shapes: B texts, T tokens of the longest one, D hidden size, N texts, S tokens of all texts.
"""

from __future__ import annotations

import copy
import mmap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainers.config import Device
from trainers.data import Split
from trainers.fit.batching import Indices, sorted_batches
from trainers.fit.device import moved, resident


@dataclass(frozen=True)
class Batch:
    """Inputs of a network, entering it at some depth.

    Attributes:
        inputs: ids_BT before the embeddings, hidden_BTD between layers, pooled_BD above the last layer.
        mask_BT: True where there is a token; None if nothing is padded.
        labels_B: Class indices, or 0 and 1 for each of several labels.
        wide: Whether what frozen layers make of it stays in float32, though features are stored as float16.
        segments_BT: Beside ids_BT of pairs, which of the two texts each token is from; None elsewhere.
    """

    inputs: Tensor
    mask_BT: Tensor | None
    labels_B: Tensor
    wide: bool = False
    segments_BT: Tensor | None = None


class SplitInputs:
    """Batches of one split, entering a network at one depth.

    Args:
        split: Tokens and labels.
        depth: Layers that were already run; None hands out token ids.
        values: Stored activations: values_SD in file order, or values_ND (pooled) at full depth.
        pad_id: Token id that fills up short texts.
        device: Where batches go, and stored activations, too, if they fit.
        wide: See ``Batch``.
    """

    def __init__(
        self,
        split: Split,
        *,
        depth: int | None,
        values: npt.NDArray[np.floating] | None,
        pad_id: int,
        device: Device = "cpu",
        wide: bool = False,
    ) -> None:
        self.depth = depth
        self.wide = wide
        self._device = device
        self.lengths_N = split.lengths_N
        self.labels_N = torch.from_numpy(split.labels_N)
        self._pad_id = pad_id
        self._segments = None
        self._pooled = values is not None and len(values) == len(split)
        self._mapped: mmap.mmap | None = getattr(values, "_mmap", None)
        if values is None:
            self._values = torch.from_numpy(split.ids_S)
            self._starts_N = split.offsets_N1[:-1]
            if split.segments_S is not None:
                self._segments = torch.from_numpy(split.segments_S)
        else:
            self._values = resident(torch.from_numpy(values), device)
            self._starts_N = np.arange(len(split)) if self._pooled else _starts_in_file(split.lengths_N)

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, rows: Indices) -> SplitInputs:
        """Return some of the texts, in that order; what is stored of them is shared."""
        some = copy.copy(self)
        some.lengths_N = self.lengths_N[rows]
        some.labels_N = self.labels_N[torch.from_numpy(rows)]
        some._starts_N = self._starts_N[rows]
        return some

    def batch(self, rows: Indices) -> Batch:
        """Gather the texts ``rows`` into one padded batch."""
        labels_B = moved(self.labels_N[torch.from_numpy(rows)], self._device)
        if self._pooled:
            chosen = torch.from_numpy(self._starts_N[rows])
            return Batch(moved(self._values[chosen], self._device).float(), None, labels_B)
        lengths_B = self.lengths_N[rows]
        places = [
            slice(start, start + length)
            for start, length in zip(self._starts_N[rows], lengths_B, strict=True)
        ]
        parts = [self._values[place] for place in places]
        fill = self._pad_id if self.depth is None else 0
        padded = moved(pad_sequence(parts, batch_first=True, padding_value=fill), self._device)
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            # What was read stays in the system's cache, for every worker, and leaves this process's memory.
            self._mapped.madvise(mmap.MADV_DONTNEED)
        mask_BT = padding_mask(torch.from_numpy(lengths_B))
        if mask_BT is not None:
            mask_BT = moved(mask_BT, self._device)
        inputs = padded.long() if self.depth is None else padded.float()
        segments_BT = None
        if self._segments is not None:
            segments = pad_sequence([self._segments[place] for place in places], batch_first=True)
            segments_BT = moved(segments, self._device).long()
        return Batch(inputs, mask_BT, labels_B, wide=self.wide, segments_BT=segments_BT)


def padding_mask(lengths_B: Tensor) -> Tensor | None:
    """Return mask_BT, True where there is a token; None if all texts are equally long."""
    longest = int(lengths_B.max())
    if int(lengths_B.min()) == longest:
        return None
    return torch.arange(longest)[None, :] < lengths_B[:, None]


def _starts_in_file(lengths_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each text starts in a feature file, in tokens."""
    order = np.concatenate(sorted_batches(lengths_N))
    ends = np.cumsum(lengths_N[order])
    starts_N = np.empty_like(lengths_N)
    starts_N[order] = ends - lengths_N[order]
    return starts_N
