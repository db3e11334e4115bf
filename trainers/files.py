"""Files that are whole at every moment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from trainers.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a part of it.

    Raises:
        InputError: The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            scratch = Path(file.name)
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                scratch.chmod(0o644)
                scratch.replace(path)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(
            f"{path} must be writable, got: {error.strerror or error}; free space or change the permissions of "
            f"{path.parent}"
        ) from error
