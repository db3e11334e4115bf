"""The frozen features of a study's depths: computed once, stored, and opened.

A feature file holds one split's activations at one depth, texts end to end without padding in the order of
``sorted_batches``. Beside it stands a JSON file with its SHA-256, written last: a data file without a
matching one is torn or altered, and is built again (``feature_files``). A depth at which some value is too large for
the number format is kept as float32; which these are is known of depths that are run live, too.

Shapes: D hidden size, N texts, S tokens of all texts.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers
from filelock import FileLock

from trainers.config import FixedPrecision, TrainConfig
from trainers.data import Split, Splits
from trainers.encoder import Encoder
from trainers.errors import InputError
from trainers.fit.feature_files import (
    FeatureWriter,
    evict,
    is_intact,
    largest_in,
    largest_of,
    note_largest,
)
from trainers.fit.features import Features, Progress, StoredSplit
from trainers.fit.inputs import SplitInputs
from trainers.fit.losses import check_class_weights
from trainers.fit.precision import choose_precision
from trainers.fit.prefix import Prefix

FORMAT = 2


def build_features(
    encoder: Encoder,
    splits: Splits,
    config: TrainConfig,
    *,
    depths: Sequence[int],
    directory: Path,
    disk_bytes: int,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
    on_notice: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> Features:
    """Store the training and validation features of ``depths`` and open them.

    All depths that are missing are computed in one pass; once more, in float32, those at which some value turns
    out to be too large for the number format. If not all fit into ``disk_bytes``, the deepest are kept, which save
    most. The others are computed live, which may round last bits otherwise, in other batches; pooled vectors are
    held in memory then, to the bit as they would be stored. Features of other studies make room, the longest unused
    first, unless a process still reads them. One process builds, others wait for it.

    Args:
        encoder: The pre-trained encoder.
        splits: The tokenised texts.
        config: Any of the study's fits; pooling and number format are read from it.
        depths: Freeze depths that fits will ask for.
        directory: Of the cache.
        disk_bytes: What the cache may take.
        on_progress: Called with texts done and texts in all.
        on_notice: Called with a line about each depth that is kept as float32 for its values.

    Raises:
        InputError: The cache cannot be written, texts are longer than the encoder reads, the encoder
            gives numbers that are not finite, or a class has no weight.
    """
    if encoder.max_length is not None and config.data.max_length > encoder.max_length:
        raise InputError(
            f"data.max_length must be at most {encoder.max_length}, the positions of {encoder.name!r}, "
            f"got {config.data.max_length}; lower it"
        )
    check_class_weights(config, splits.class_names)
    if config.head_start != "random":
        depths = [*depths, encoder.num_layers]
    wanted = sorted({d for d in depths if 0 < d <= encoder.num_layers})
    precision = choose_precision(config.precision, encoder.device)
    root = directory / "features"
    parts = _parts(encoder, splits, config, precision, root)
    prefix = Prefix(encoder, config.encoder.pooling, precision)

    def opened(kept: tuple[int, ...] = (), folders: dict[StoredSplit, Path] | None = None) -> Features:
        wide = _wide(parts, wanted, on_notice)
        return Features(
            encoder, splits, folders=folders, kept=kept, wide=wide, pooled=_pooled(parts), precision=precision
        )

    if not _affordable(parts.values(), wanted, hidden_size=encoder.hidden_size, disk_bytes=disk_bytes):
        _complete(parts.values(), wanted, (), prefix, on_progress)
        return opened()
    try:
        for part in parts.values():
            part.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "build.lock"):  # until the folders are held: nobody makes room of them
            kept = _store(parts.values(), wanted, prefix, on_progress, root=root, disk_bytes=disk_bytes)
            return opened(kept, {name: part.folder for name, part in parts.items()})
    except OSError as error:
        raise InputError(
            f"the feature cache {directory} must be writable with room for it, got: {error.strerror or error}; "
            "free space, lower cache.disk_gib or set cache.directory"
        ) from error


def _parts(
    encoder: Encoder, splits: Splits, config: TrainConfig, precision: FixedPrecision, root: Path
) -> dict[StoredSplit, _Part]:
    """Return the splits whose features are stored, each with the folder for them."""
    dtype = np.dtype(config.cache)
    named: dict[StoredSplit, Split] = {"train": splits.train}
    if splits.folds is None:  # else validation texts are training texts of other folds
        named["validation"] = splits.validation
    pooling = config.encoder.pooling
    return {
        name: _Part(
            split,
            root / _key(encoder, split, dtype=dtype, pooling=pooling, precision=precision),
            dtype,
            encoder.num_layers,
        )
        for name, split in named.items()
    }


def _store(
    parts: Collection[_Part],
    wanted: Sequence[int],
    prefix: Prefix,
    on_progress: Progress,
    *,
    root: Path,
    disk_bytes: int,
) -> tuple[int, ...]:
    """Store what is missing, and make room for it; returns the depths that are stored."""
    hidden_size = prefix.encoder.hidden_size
    for part in parts:
        _recall(part, wanted, hidden_size=hidden_size)
    before: list[np.dtype[np.floating]] | None = None
    kept: tuple[int, ...] = ()
    # At most twice: the first pass measures every depth.
    while before != (formats := [part.format(d) for part in parts for d in wanted]):
        before = formats
        kept = _affordable(parts, wanted, hidden_size=hidden_size, disk_bytes=disk_bytes)
        _complete(parts, wanted, kept, prefix, on_progress)
    for part in parts:
        note_largest(part.folder, part.largest)
    folders = {part.folder for part in parts}
    for folder in folders:
        os.utime(folder)
    evict(root, keep=folders, depths=kept, disk_bytes=disk_bytes)
    return kept


def _key(
    encoder: Encoder,
    split: Split,
    *,
    dtype: np.dtype[np.floating],
    pooling: str,
    precision: FixedPrecision = "float32",
) -> str:
    """Name the folder of a split's features after everything that they depend on, the depth excepted.

    Texts, lengths kept and tokenizer are all in the token ids, and in the segments of pairs.
    """
    parts = [
        f"format {FORMAT}",
        encoder.fingerprint,
        dtype.name,
        pooling,
        encoder.device,
        f"torch {torch.__version__}",
        f"transformers {transformers.__version__}",
        hashlib.sha256(split.ids_S.tobytes()).hexdigest(),
        hashlib.sha256(split.offsets_N1.tobytes()).hexdigest(),
    ]
    if precision != "float32":
        parts.append(precision)
    if split.segments_S is not None:
        parts.append(f"segments {hashlib.sha256(split.segments_S.tobytes()).hexdigest()}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass
class _Part:
    """A split, and what is known of its features.

    Attributes:
        folder: Where they stand.
        dtype: In which they are stored, where it has room for all values.
        num_layers: Of the encoder.
        largest: The largest absolute value at each depth, as far as it is known.
        pooled_ND: Where they are not stored, but wanted.
    """

    split: Split
    folder: Path
    dtype: np.dtype[np.floating]
    num_layers: int
    largest: dict[int, float] = field(default_factory=dict)
    pooled_ND: npt.NDArray[np.floating] | None = None

    def is_wide(self, depth: int) -> bool:
        """Tell whether some value between layers is too large for the number format."""
        return depth < self.num_layers and self.largest.get(depth, 0.0) > float(np.finfo(self.dtype).max)

    def format(self, depth: int) -> np.dtype[np.floating]:
        """Return the number format of a depth; pooled vectors take little room, and are float32."""
        return np.dtype(np.float32) if self.is_wide(depth) or depth == self.num_layers else self.dtype


def _recall(part: _Part, wanted: Sequence[int], *, hidden_size: int) -> None:
    """Learn the largest values from the folder; version 0.1.0 did not note them."""
    part.largest = largest_of(part.folder)
    for depth in set(wanted) - set(part.largest):
        if is_intact(part.folder, depth, part.format(depth)):
            found = largest_in(part.folder, depth, hidden_size=hidden_size)
            if math.isfinite(found):
                part.largest[depth] = found


def _affordable(
    parts: Collection[_Part], wanted: Sequence[int], *, hidden_size: int, disk_bytes: int
) -> tuple[int, ...]:
    """Choose the depths to store, the deepest first."""
    kept = []
    left = disk_bytes
    for depth in sorted(wanted, reverse=True):
        size = 0
        for part in parts:
            vectors = len(part.split) if depth == part.num_layers else len(part.split.ids_S)
            size += vectors * hidden_size * part.format(depth).itemsize
        if size <= left:
            kept.append(depth)
            left -= size
    return tuple(sorted(kept))


def _complete(
    parts: Collection[_Part],
    wanted: Sequence[int],
    kept: Sequence[int],
    prefix: Prefix,
    on_progress: Progress,
) -> None:
    """In one pass over each split, store what is missing of the depths that are kept and measure the others.

    Depths that were measured before are left alone. Pooled vectors that are not kept come into memory.
    """
    to_do = []
    for part in parts:
        asked: dict[int, np.dtype[np.floating] | None] = {}
        for depth in wanted:
            if depth in kept:
                is_there = is_intact(part.folder, depth, part.format(depth))
            else:
                is_there = depth < part.num_layers
            if not is_there:
                asked[depth] = part.format(depth)
            elif depth not in part.largest:
                asked[depth] = None
        if asked:
            to_do.append((part, asked))
    total = sum(len(part.split) for part, _ in to_do)
    done = 0
    for part, asked in to_do:
        for count in _run(part, asked, kept, prefix):
            done += count
            on_progress(done, total)


def _run(
    part: _Part, asked: Mapping[int, np.dtype[np.floating] | None], kept: Sequence[int], prefix: Prefix
) -> Iterator[int]:
    """Run the prefix once over a split, writing what is kept; yields texts done since the last."""
    top, hidden_size = prefix.encoder.num_layers, prefix.encoder.hidden_size
    pad_id, device = prefix.encoder.tokenizer.pad_token_id, prefix.encoder.device
    inputs = SplitInputs(part.split, depth=None, values=None, pad_id=pad_id, device=device)
    pooled_ND = np.empty((len(part.split), hidden_size), dtype=np.float32)
    largest = dict.fromkeys(asked, 0.0)
    with contextlib.ExitStack() as stack:
        writers = {
            depth: stack.enter_context(FeatureWriter(part.folder, depth, hidden_size=hidden_size))
            for depth, dtype in asked.items()
            if dtype is not None and depth in kept
        }
        for piece in prefix.run(inputs, asked):
            largest = {depth: max(value, piece.largest[depth]) for depth, value in largest.items()}
            for depth, array in piece.values.items():
                if depth == top:
                    pooled_ND[piece.rows] = array
                else:
                    writers[depth].write(array)
            yield len(piece.rows)
        if top in writers:
            writers[top].write(pooled_ND)
    part.largest |= largest
    if top in asked and top not in kept:
        part.pooled_ND = pooled_ND


def _wide(
    parts: Mapping[StoredSplit, _Part], wanted: Sequence[int], on_notice: Callable[[str], None]
) -> dict[StoredSplit, frozenset[int]]:
    """Return the depths of each split at which some value is too large, and say so of each depth."""
    for depth in wanted:
        wide = [part for part in parts.values() if part.is_wide(depth)]
        if wide:
            largest, dtype = max(part.largest[depth] for part in wide), wide[0].dtype
            on_notice(
                f"frozen layers: values reach {largest:,.0f} at depth {depth}, and {dtype.name} ends at "
                f"{np.finfo(dtype).max:,.0f}; what they give there is kept as float32"
            )
    return {name: frozenset(filter(part.is_wide, wanted)) for name, part in parts.items()}


def _pooled(parts: Mapping[StoredSplit, _Part]) -> dict[StoredSplit, npt.NDArray[np.floating]]:
    return {name: part.pooled_ND for name, part in parts.items() if part.pooled_ND is not None}
