"""Errors that a user can fix, in one line: rule, value, remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


# Control characters, what changes the direction of writing, and surrogates, which cannot be written.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(Exception):
    """What the user gave cannot be used; the message states rule, value and remedy."""


class FitError(Exception):
    """One fit failed for a reason that lies in its parameters or the machine, not in a bug."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'dropout'?``, or an empty string if nothing is close."""
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def printable(text: object) -> str:
    """Write a text of whatever origin on one line, with escapes for what a terminal would obey."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], " ".join(str(text).split()))


def describe(error: ValidationError, *, valid_keys: Callable[[tuple[str, ...]], Iterable[str]]) -> str:
    """List every mistake of a pydantic error, each with its key and the nearest valid one.

    Args:
        error: What pydantic found.
        valid_keys: Maps the path of a table (``("data",)``) to the keys it may hold.
    """
    lines = []
    for mistake in error.errors(include_url=False):
        path = tuple(str(part) for part in mistake["loc"])
        key = ".".join(path)
        if mistake["type"] == "extra_forbidden":
            hint = nearest(path[-1], valid_keys(path[:-1]))
            lines.append(f"unknown key {key!r}{hint or '; remove it'}")
        elif mistake["type"] == "missing":
            lines.append(f"{key!r} is missing; add it")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            own = mistake["type"] == "value_error" and ", got " in message
            said = own or isinstance(mistake["input"], Mapping)
            given = "" if said else f", got {_short(mistake['input'])}"
            lines.append(f"{key}: {message}{given}" if key else message)
    return "; ".join(lines)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
