"""What the frozen prefix computes: once, kept on disk, shared by trials, epochs, workers and later studies.

A feature file holds one split's activations at one depth, texts end to end without padding in the order of
``sorted_batches``. Beside it stands a JSON file with its SHA-256, written last: a data file without a
matching one is torn or altered, and is built again (``feature_files``).

Shapes: B texts, T tokens of the longest one, D hidden size, N texts, S tokens of all texts.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import joblib
import numpy as np
import numpy.typing as npt
import torch
import transformers
from filelock import FileLock
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainers.batching import Rows, sorted_batches
from trainers.config import Device, FixedPrecision, TrainConfig
from trainers.data import Split, Splits
from trainers.device import kind, moved, resident
from trainers.encoder import Encoder
from trainers.errors import InputError
from trainers.families import POOLER, run
from trainers.feature_files import FeatureWriter, data_file, evict, hold, is_intact, open_features
from trainers.modeling_frostline import pool
from trainers.precision import choose_precision, computing_in

FORMAT = 2

_Result = TypeVar("_Result")
SplitName = Literal["train", "validation"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Batch:
    """Inputs of a network, entering it at some depth.

    Attributes:
        inputs: ids_BT before the embeddings, hidden_BTD between layers, pooled_BD above the last layer.
        mask_BT: True where there is a token; None if nothing is padded.
        labels_B: Class indices.
    """

    inputs: Tensor
    mask_BT: Tensor | None
    labels_B: Tensor


class Source:
    """Batches of one split, entering a network at one depth.

    Args:
        split: Tokens and labels.
        depth: Layers that were already run; None hands out token ids.
        values: Stored activations: values_SD in file order, or values_ND (pooled) at full depth.
        pad_id: Token id that fills up short texts.
        device: Where batches go, and stored activations, too, if they fit.
    """

    def __init__(
        self,
        split: Split,
        *,
        depth: int | None,
        values: npt.NDArray[np.floating] | None,
        pad_id: int,
        device: Device = "cpu",
    ) -> None:
        self.depth = depth
        self._device = device
        self.lengths_N = split.lengths_N
        self._labels_N = torch.from_numpy(split.labels_N)
        self._pad_id = pad_id
        self._pooled = values is not None and len(values) == len(split)
        self._mapped: mmap.mmap | None = getattr(values, "_mmap", None)
        if values is None:
            self._values = torch.from_numpy(split.ids_S)
            self._starts_N = split.offsets_N1[:-1]
        else:
            self._values = resident(torch.from_numpy(values), device)
            self._starts_N = np.arange(len(split)) if self._pooled else _starts_in_file(split.lengths_N)

    def __len__(self) -> int:
        return len(self._labels_N)

    def batch(self, rows: Rows) -> Batch:
        """Gather the texts ``rows`` into one padded batch."""
        labels_B = moved(self._labels_N[torch.from_numpy(rows)], self._device)
        if self._pooled:
            return Batch(moved(self._values[torch.from_numpy(rows)], self._device).float(), None, labels_B)
        lengths_B = self.lengths_N[rows]
        parts = [
            self._values[start : start + length]
            for start, length in zip(self._starts_N[rows], lengths_B, strict=True)
        ]
        fill = self._pad_id if self.depth is None else 0
        padded = moved(pad_sequence(parts, batch_first=True, padding_value=fill), self._device)
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            # What was read stays in the system's cache, for every worker, and leaves this process's memory.
            self._mapped.madvise(mmap.MADV_DONTNEED)
        mask_BT = padding_mask(torch.from_numpy(lengths_B))
        if mask_BT is not None:
            mask_BT = moved(mask_BT, self._device)
        return Batch(padded.long() if self.depth is None else padded.float(), mask_BT, labels_B)


class Features:
    """Encoder, splits and whatever is stored of them: all that a fit reads.

    Args:
        encoder: The pre-trained encoder.
        splits: The tokenised texts.
        folders: Where each split's feature files stand; None stores nothing.
        kept: Depths that are stored.
        precision: Number format that the frozen layers compute in; fits on these features compute in it, too.
    """

    def __init__(
        self,
        encoder: Encoder,
        splits: Splits,
        *,
        folders: dict[SplitName, Path] | None = None,
        kept: Sequence[int] = (),
        precision: FixedPrecision = "float32",
    ) -> None:
        self.precision = precision
        self.encoder = encoder
        self.splits = splits
        self.kept = tuple(kept)
        self._folders = folders or {}
        for folder in self._folders.values():
            weakref.finalize(self, os.close, hold(folder))
        self._sources: dict[SplitName, Source] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is mapped: another process maps it again, while this one keeps it from being removed."""
        return {**self.__dict__, "_sources": {}}

    def source(self, name: SplitName, freeze_depth: int) -> Source:
        """Return the split's inputs at the deepest stored point that ``freeze_depth`` leaves frozen.

        That is ``freeze_depth`` itself where it is stored, and otherwise the token ids.
        """
        depth = freeze_depth if freeze_depth in self.kept else None
        latest = self._sources.get(name)
        if latest is None or latest.depth != depth:
            split: Split = getattr(self.splits, name)
            values = None
            if depth is not None:
                values = open_features(self._folders[name], depth, hidden_size=self.encoder.hidden_size)
            pad_id = self.encoder.tokenizer.pad_token_id
            # One depth a split stays mapped: what was read of it counts as this process's memory.
            self._sources[name] = Source(
                split, depth=depth, values=values, pad_id=pad_id, device=self.encoder.device
            )
        return self._sources[name]

    def num_bytes(self) -> int:
        """Return the disk space that the stored features take."""
        paths = (data_file(folder, depth) for folder in self._folders.values() for depth in self.kept)
        return sum(p.stat().st_size for p in paths)


def build_features(
    encoder: Encoder,
    splits: Splits,
    config: TrainConfig,
    *,
    depths: Sequence[int],
    directory: Path,
    disk_bytes: int,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> Features:
    """Store the training and validation features of ``depths`` and open them.

    All depths that are missing are computed in one pass. If not all fit into ``disk_bytes``, the deepest
    are kept, which save most; the others are computed live. Features of other studies make room, the
    longest unused first, unless a process still reads them. One process builds, others wait for it.

    Args:
        encoder: The pre-trained encoder.
        splits: The tokenised texts.
        config: Any of the study's fits; pooling and number format are read from it.
        depths: Freeze depths that fits will ask for.
        directory: Of the cache.
        disk_bytes: What the cache may take.
        on_progress: Called with texts done and texts in all.

    Raises:
        InputError: The cache cannot be written, or texts are longer than the encoder reads.
    """
    if encoder.max_length is not None and config.data.max_length > encoder.max_length:
        raise InputError(
            f"data.max_length must be at most {encoder.max_length}, the positions of {encoder.name!r}, "
            f"got {config.data.max_length}; lower it"
        )
    precision = choose_precision(config.precision, encoder.device)
    config = config.model_copy(update={"precision": precision})
    dtype = np.dtype(config.cache)
    if config.head_start == "fitted":
        depths = [*depths, encoder.num_layers]
    named: dict[SplitName, Split] = {"train": splits.train, "validation": splits.validation}
    kept = _affordable(depths, list(named.values()), encoder, dtype=dtype, disk_bytes=disk_bytes)
    folders = {name: directory / "features" / _key(encoder, split, config) for name, split in named.items()}
    if not kept:
        return Features(encoder, splits, precision=precision)
    try:
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / "features" / "build.lock"):
            missing = {n: [d for d in kept if not is_intact(folders[n], d)] for n in named}
            total = sum(len(split) for name, split in named.items() if missing[name])
            done = 0
            for name, split in named.items():
                if missing[name]:
                    for count in _build(encoder, split, config, folders[name], depths=missing[name]):
                        done += count
                        on_progress(done, total)
            for folder in folders.values():
                os.utime(folder)
            evict(directory / "features", keep=set(folders.values()), depths=kept, disk_bytes=disk_bytes)
            return Features(encoder, splits, folders=folders, kept=kept, precision=precision)
    except OSError as error:
        raise InputError(
            f"the feature cache {directory} must be writable with room for it, got: {error.strerror or error}; "
            "free space, lower cache.disk_gib or set cache.directory"
        ) from error


def default_cache_directory() -> Path:
    """Return the user's cache directory for this project, after the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "frostline"


def padding_mask(lengths_B: Tensor) -> Tensor | None:
    """Return mask_BT, True where there is a token; None if all texts are equally long."""
    longest = int(lengths_B.max())
    if int(lengths_B.min()) == longest:
        return None
    return torch.arange(longest)[None, :] < lengths_B[:, None]


def _key(encoder: Encoder, split: Split, config: TrainConfig) -> str:
    """Name the folder of a split's features after everything that they depend on, the depth excepted.

    Texts, lengths kept and tokenizer are all in the token ids.
    """
    parts = [
        f"format {FORMAT}",
        encoder.fingerprint,
        config.cache,
        config.encoder.pooling,
        encoder.device,
        f"torch {torch.__version__}",
        f"transformers {transformers.__version__}",
        hashlib.sha256(split.ids_S.tobytes()).hexdigest(),
        hashlib.sha256(split.offsets_N1.tobytes()).hexdigest(),
    ]
    if config.precision != "float32":
        parts.append(config.precision)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _affordable(
    depths: Sequence[int],
    splits: Sequence[Split],
    encoder: Encoder,
    *,
    dtype: np.dtype[np.floating],
    disk_bytes: int,
) -> tuple[int, ...]:
    """Choose the depths to store, the deepest first; depth 0 has nothing to store."""
    kept = []
    left = disk_bytes
    for depth in sorted({d for d in depths if 0 < d <= encoder.num_layers}, reverse=True):
        size = sum(_num_bytes(s, depth, encoder, dtype=dtype) for s in splits)
        if size <= left:
            kept.append(depth)
            left -= size
    return tuple(sorted(kept))


def _num_bytes(split: Split, depth: int, encoder: Encoder, *, dtype: np.dtype[np.floating]) -> int:
    if depth == encoder.num_layers:
        return len(split) * encoder.hidden_size * np.dtype(np.float32).itemsize
    return len(split.ids_S) * encoder.hidden_size * dtype.itemsize


def _build(
    encoder: Encoder,
    split: Split,
    config: TrainConfig,
    folder: Path,
    *,
    depths: Sequence[int],
) -> Iterator[int]:
    """Run the prefix once over a split and store ``depths``, ascending; yields texts done since the last."""
    batches = sorted_batches(split.lengths_N)
    pad_id = encoder.tokenizer.pad_token_id
    source = Source(split, depth=None, values=None, pad_id=pad_id, device=encoder.device)
    pooler = getattr(encoder.model, POOLER, None)
    stages = [
        (depth, encoder.section(start=start, stop=depth))
        for start, depth in zip([None, *depths[:-1]], depths, strict=True)
    ]
    pooled_ND = np.empty((len(split), encoder.hidden_size), dtype=np.float32)
    with contextlib.ExitStack() as stack:
        writers = {
            d: stack.enter_context(FeatureWriter(folder, d, hidden_size=encoder.hidden_size)) for d in depths
        }

        def compute(rows: Rows) -> tuple[Rows, dict[int, npt.NDArray[np.floating]]]:
            torch.set_num_threads(1)
            batch = source.batch(rows)
            values = {}
            hidden = batch.inputs
            with torch.inference_mode():
                for depth, stage in stages:
                    with computing_in(config.precision, encoder.device):
                        hidden = run(stage, hidden, batch.mask_BT).float()
                    if depth == encoder.num_layers:
                        pooled_BD = pool(hidden, batch.mask_BT, pooling=config.encoder.pooling, pooler=pooler)
                        values[depth] = pooled_BD.cpu().numpy()
                    else:
                        tokens_SD = hidden if batch.mask_BT is None else hidden[batch.mask_BT]
                        tokens_SD = tokens_SD.reshape(-1, encoder.hidden_size)
                        values[depth] = tokens_SD.cpu().numpy().astype(config.cache)
            return rows, values

        # Threads share a GPU's queue, and would fill its memory.
        num_threads = joblib.cpu_count(only_physical_cores=True) if kind(encoder.device) == "cpu" else 1
        for rows, values in _side_by_side(compute, batches, num_threads=num_threads):
            for depth, array in values.items():
                if depth == encoder.num_layers:
                    pooled_ND[rows] = array
                else:
                    writers[depth].write(array)
            yield len(rows)
        if encoder.num_layers in writers:
            writers[encoder.num_layers].write(pooled_ND)


def _side_by_side(
    compute: Callable[[Rows], _Result], batches: Sequence[Rows], *, num_threads: int
) -> Iterator[_Result]:
    """Compute batches in order, one thread a core: faster than one batch after the other on all of them."""
    with ThreadPoolExecutor(num_threads) as executor:
        ahead: deque[Future[_Result]] = deque()
        for rows in batches:
            ahead.append(executor.submit(compute, rows))
            if len(ahead) > 2 * num_threads:  # what waits to be written takes memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _starts_in_file(lengths_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each text starts in a feature file, in tokens."""
    order = np.concatenate(sorted_batches(lengths_N))
    ends = np.cumsum(lengths_N[order])
    starts_N = np.empty_like(lengths_N)
    starts_N[order] = ends - lengths_N[order]
    return starts_N
