"""Stored features on a node that has not computed them: they are copied from the driver's disk, once a node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from trainers.fit import FeatureWriter, description, evict

if TYPE_CHECKING:
    from trainers.fit import Features, StoredSplit

PIECE_BYTES = 2**25

Read = Callable[[str, int, int], bytes]
"""From a path on the driver's disk, an offset and a number of bytes to what stands there."""


@dataclass(frozen=True)
class FeatureFile:
    """A stored file on the driver's disk.

    Attributes:
        split: Whose features it holds.
        depth: Layers that were run.
        path: Where it stands there.
        description: What stands beside it: bytes, SHA-256, number format, hidden size.
    """

    split: StoredSplit
    depth: int
    path: str
    description: dict[str, int | str]


def files_of(features: Features) -> list[FeatureFile]:
    """List what is stored of features on this machine."""
    found = []
    for split, folder in features.folders.items():
        for depth in features.kept:
            path, described = description(folder, depth)
            found.append(FeatureFile(split, depth, str(path), described))
    return found


def folders_of(files: list[FeatureFile], root: Path) -> dict[StoredSplit, Path]:
    """Return where the files of each split stand on this node, or are to stand.

    That is the driver's folder where this node has the same one, to the bit, and else one that is named after what the
    files hold: what a node computed itself may differ in its last bits.
    """
    folders: dict[StoredSplit, Path] = {}
    for split in dict.fromkeys(file.split for file in files):
        own = [file for file in files if file.split == split]
        folder = root / Path(own[0].path).parent.name
        if not all(_is_there(file, folder) for file in own):
            text = "\n".join(f"{file.depth} {file.description['sha256']}" for file in own)
            folder = root / hashlib.sha256(text.encode()).hexdigest()[:32]
        folders[split] = folder
    return folders


def are_there(files: list[FeatureFile], root: Path) -> bool:
    """Tell whether a node has all of the files."""
    folders = folders_of(files, root)
    return all(_is_there(file, folders[file.split]) for file in files)


def fetch(files: list[FeatureFile], root: Path, *, read: Read, disk_bytes: int) -> dict[StoredSplit, Path]:
    """Copy what a node lacks, one process at a time, and return the folders.

    Raises:
        OSError: The cache cannot be written, or a file was altered on its way.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "build.lock"):
        folders = folders_of(files, root)
        for file in files:
            folder = folders[file.split]
            if _is_there(file, folder):
                continue
            folder.mkdir(exist_ok=True)
            size, dtype = int(file.description["bytes"]), np.dtype(str(file.description["dtype"]))
            hidden_size = int(file.description["hidden_size"])
            with FeatureWriter(folder, file.depth, hidden_size=hidden_size) as writer:
                for offset in range(0, size, PIECE_BYTES):
                    writer.write(np.frombuffer(read(file.path, offset, PIECE_BYTES), dtype=dtype))
            if not _is_there(file, folder):
                raise OSError(f"{file.path} has changed while it was copied")
        keep, depths = set(folders.values()), {file.depth for file in files}
        evict(root, keep=keep, depths=depths, disk_bytes=disk_bytes)
    return folders


def _is_there(file: FeatureFile, folder: Path) -> bool:
    try:
        path, described = description(folder, file.depth)
        return described == file.description and path.stat().st_size == described["bytes"]
    except (OSError, ValueError):
        return False


class FileServer:
    """Runs on the driver's node, and reads what its disk holds of features."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = frozenset(paths)

    def read(self, path: str, offset: int, count: int) -> bytes:
        """Return so many bytes of a file, or what is left of it."""
        if path not in self._paths:
            raise ValueError(f"{path} is none of the stored features")
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read(count)
