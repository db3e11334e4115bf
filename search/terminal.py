"""Lines on the terminal."""

from __future__ import annotations

import sys


def say(*lines: str) -> None:
    """Print lines, at once: a program that reads them waits for each."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def warn(line: str) -> None:
    """Print a line where errors go."""
    print(line, file=sys.stderr)  # noqa: T201
