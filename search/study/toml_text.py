"""A study's table -> the text of its TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def study_toml(table: Mapping[str, Any]) -> str:
    """Write a study as the text of a TOML file: scalars, then tables, whose own tables stand inline."""
    plain = {k: v for k, v in table.items() if not isinstance(v, dict)}
    lines = [f"{key} = {_inline(value)}\n" for key, value in plain.items()]
    for key, inner in table.items():
        if isinstance(inner, dict):
            lines.append(f"\n[{key}]\n")
            lines += [f"{_key(k)} = {_inline(v)}\n" for k, v in inner.items()]
    return "".join(lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _scalar(key)


def _inline(value: Any) -> str:
    """Write a value, tables and lists inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """Write a scalar as JSON does, which leaves DEL as it is, and TOML may not have it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
