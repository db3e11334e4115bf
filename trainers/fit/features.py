"""What the frozen prefix computes: once, kept on disk, shared by trials, epochs, workers and later studies.

A fit reads it by ``Features``; ``feature_building`` computes what is missing, ``feature_files`` holds what is stored.

Shapes: N texts, S tokens of all texts.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainers.config import Device, FixedPrecision
from trainers.data import Split, Splits
from trainers.encoder import Encoder
from trainers.fit.batching import Indices
from trainers.fit.feature_files import (
    data_file,
    hold,
    open_features,
)
from trainers.fit.inputs import SplitInputs

StoredSplit = Literal["train", "validation"]
Progress = Callable[[int, int], None]


class Features:
    """Encoder, splits and whatever is stored of them: all that a fit reads.

    Args:
        encoder: The pre-trained encoder.
        splits: The tokenised texts.
        folders: Where each split's feature files stand; None stores nothing.
        kept: Depths that are stored.
        wide: Depths of each split at which some value is too large for float16; None knows of none.
        pooled: Pooled vectors of each split that are kept in memory, pooled_ND.
        precision: Number format that the frozen layers compute in; fits on these features compute in it, too.
    """

    def __init__(
        self,
        encoder: Encoder,
        splits: Splits,
        *,
        folders: dict[StoredSplit, Path] | None = None,
        kept: Sequence[int] = (),
        wide: Mapping[StoredSplit, Collection[int]] | None = None,
        pooled: Mapping[StoredSplit, npt.NDArray[np.floating]] | None = None,
        precision: FixedPrecision = "float32",
    ) -> None:
        self.precision = precision
        self.encoder = encoder
        self.splits = splits
        self.kept = tuple(kept)
        self._wide = wide or {}
        self._pooled = pooled or {}
        self._folders = folders or {}
        for folder in self._folders.values():
            weakref.finalize(self, os.close, hold(folder))
        self._inputs: dict[StoredSplit, SplitInputs] = {}
        self._whole: Features | None = None
        self._rows: dict[StoredSplit, Indices] = {}

    def of_rows(self, *, train: Indices, validation: Indices) -> Features:
        """Return the same features with other splits: texts of the training split, of which nothing is computed again."""
        pool = self.splits.train
        splits = replace(self.splits, train=pool.some(train), validation=pool.some(validation), folds=None)
        view = Features(self.encoder, splits, kept=self.kept, precision=self.precision)
        view._whole = self
        view._rows = {"train": train, "validation": validation}
        return view

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is mapped: another process maps it again, while this one keeps it from being removed."""
        return {**self.__dict__, "_inputs": {}}

    def inputs(self, name: StoredSplit, freeze_depth: int) -> SplitInputs:
        """Return the split's inputs at the deepest stored point that ``freeze_depth`` leaves frozen.

        That is ``freeze_depth`` itself where it is stored, and otherwise the token ids.
        """
        if self._whole is not None:
            return self._whole.inputs("train", freeze_depth).take(self._rows[name])
        in_memory = self._pooled.get(name) if freeze_depth == self.encoder.num_layers else None
        depth = freeze_depth if freeze_depth in self.kept or in_memory is not None else None
        wide = freeze_depth in self._wide.get(name, ())
        latest = self._inputs.get(name)
        if latest is None or (latest.depth, latest.wide) != (depth, wide):
            split: Split = getattr(self.splits, name)
            values = in_memory
            if depth in self.kept:
                values = open_features(self._folders[name], depth, hidden_size=self.encoder.hidden_size)
            pad_id = self.encoder.tokenizer.pad_token_id
            # One depth a split stays mapped: what was read of it counts as this process's memory.
            self._inputs[name] = SplitInputs(
                split, depth=depth, values=values, pad_id=pad_id, device=self.encoder.device, wide=wide
            )
        return self._inputs[name]

    @property
    def folders(self) -> dict[StoredSplit, Path]:
        """Where each split's feature files stand."""
        return dict(self._folders)

    def moved(self, encoder: Encoder, folders: Mapping[StoredSplit, Path]) -> Features:
        """Return the same for an encoder on another device, with equal files in other folders, which it holds."""
        return Features(
            encoder,
            self.splits,
            folders=dict(folders),
            kept=self.kept,
            wide=self._wide,
            pooled=self._pooled,
            precision=self.precision,
        )

    def on(self, device: Device) -> Features:
        """Return the same for fits on another device; the encoder's weights stay where they are."""
        return self.moved(replace(self.encoder, device=device), self._folders)

    def num_bytes(self) -> int:
        """Return the disk space that the stored features take."""
        paths = (data_file(folder, depth) for folder in self._folders.values() for depth in self.kept)
        return sum(p.stat().st_size for p in paths)
