"""Feature files on disk: whole, with their checksum beside them, or absent; and room for them.

Shapes: S tokens of all texts, D hidden size.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from trainers.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_KEY = re.compile(r"[0-9a-f]{32}")
_LOCK = "in-use"
_LARGEST = "largest.json"
_PIECE = 2**14
"""Tokens looked at in one go."""


class FeatureWriter:
    """Writes one feature file, piece by piece, in a ``with`` block; what fails in it leaves no file.

    Args:
        folder: Of a split's features.
        depth: Layers that were run.
        hidden_size: Of the encoder.
    """

    def __init__(self, folder: Path, depth: int, *, hidden_size: int) -> None:
        self._target = data_file(folder, depth)
        self._temporary = self._target.with_suffix(".part")
        self._description: dict[str, int | str] = {"hidden_size": hidden_size}
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> Self:
        _description_file(self._target).unlink(missing_ok=True)
        self._file = self._temporary.open("wb")
        return self

    def write(self, values: npt.NDArray[np.floating]) -> None:
        """Append values_SD, all in the same number format."""
        self._description["dtype"] = values.dtype.name
        data = np.ascontiguousarray(values).data
        self._sha256.update(data)
        self._file.write(data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        size = self._temporary.stat().st_size
        self._temporary.replace(self._target)
        description = {**self._description, "bytes": size, "sha256": self._sha256.hexdigest()}
        part = self._target.with_suffix(".json.part")
        part.write_text(json.dumps(description), encoding="utf-8")
        part.replace(_description_file(self._target))


def data_file(folder: Path, depth: int) -> Path:
    """Return where a split's features at a depth stand."""
    return folder / f"depth-{depth}.bin"


def description(folder: Path, depth: int) -> tuple[Path, dict[str, int | str]]:
    """Return where a split's features at a depth stand, and what stands beside them; the data is not read.

    Raises:
        OSError: There are none.
        ValueError: What stands beside them was altered.
    """
    path = data_file(folder, depth)
    described: dict[str, int | str] = json.loads(_description_file(path).read_text(encoding="utf-8"))
    return path, described


def is_intact(folder: Path, depth: int, dtype: np.dtype[np.floating]) -> bool:
    """Tell whether a feature file is there in a number format, whole and unaltered."""
    path = data_file(folder, depth)
    try:
        description = json.loads(_description_file(path).read_text(encoding="utf-8"))
        if path.stat().st_size != description["bytes"] or description["dtype"] != dtype.name:
            return False
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == description["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def open_features(folder: Path, depth: int, *, hidden_size: int) -> npt.NDArray[np.floating]:
    """Map a feature file into memory; returns values_SD."""
    path = data_file(folder, depth)
    dtype = np.dtype(json.loads(_description_file(path).read_text(encoding="utf-8"))["dtype"])
    # Copy-on-write: torch wants writable memory, the file stays as it is.
    return np.memmap(path, dtype=dtype, mode="c").reshape(-1, hidden_size)


def largest_of(folder: Path) -> dict[int, float]:
    """Return the largest absolute value at each depth at which it is known of a split."""
    try:
        return {
            int(depth): float(value) for depth, value in json.loads((folder / _LARGEST).read_text()).items()
        }
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def note_largest(folder: Path, largest: Mapping[int, float]) -> None:
    """Keep what ``largest_of`` returns."""
    part = folder / f"{_LARGEST}.part"
    part.write_text(json.dumps(largest))
    part.replace(folder / _LARGEST)


def largest_in(folder: Path, depth: int, *, hidden_size: int) -> float:
    """Return the largest absolute value in a feature file: infinite where it did not hold one."""
    values_SD = open_features(folder, depth, hidden_size=hidden_size)
    pieces = np.array_split(values_SD, 1 + len(values_SD) // _PIECE)
    return float(max(np.abs(piece).max(initial=0) for piece in pieces))


def hold(folder: Path) -> int:
    """Keep others from removing a folder; returns the file descriptor whose end, or this process's, ends that."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def evict(root: Path, *, keep: Collection[Path], depths: Collection[int], disk_bytes: int) -> None:
    """Remove what is unused longest until the cache fits its budget again, or only what is held is left.

    Whatever does not bear the name of a folder of features is somebody else's, and stays.

    Args:
        root: Of the cache.
        keep: Folders of which only files of other depths than ``depths`` may go, and after all else.
        depths: Layers run in the files that stay in them.
        disk_bytes: The budget.
    """
    own = (p for p in root.iterdir() if _KEY.fullmatch(p.name) and p.is_dir() and not p.is_symlink())
    folders = sorted(own, key=lambda p: p.stat().st_mtime)
    sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in folders}
    total = sum(sizes.values())
    for folder in sorted(folders, key=lambda p: p in keep):
        if total <= disk_bytes:
            break
        if _is_held(folder):
            continue
        if folder not in keep:
            shutil.rmtree(folder)
            total -= sizes[folder]
            continue
        wanted = {
            path for d in depths for path in (data_file(folder, d), _description_file(data_file(folder, d)))
        }
        for path in set(folder.glob("depth-*")) - wanted:
            total -= path.stat().st_size
            path.unlink()


def _is_held(folder: Path) -> bool:
    if fcntl is None:  # who knows: nothing is removed
        return True
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _description_file(data_file: Path) -> Path:
    return data_file.with_suffix(".json")


def default_cache_directory() -> Path:
    """Return the user's cache directory for this project, after the XDG base directory specification.

    Where a home folder cannot be written, it is one of the user's own beside the system's temporary files.

    Raises:
        InputError: Somebody else has made that folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "frostline"
    with contextlib.suppress(OSError, RuntimeError):  # no folder, or no home
        folder = Path.home() / ".cache" / "frostline"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    folder = Path(tempfile.gettempdir()) / f"frostline-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.lstat().st_uid != os.getuid():
        raise InputError(
            f"{folder}, which stands in for a home folder that cannot be written, must be your own; set XDG_CACHE_HOME"
        )
    return folder
