"""Several labels a text, read: from columns of 0 and 1, from one column with a separator, or from lists."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from trainers.data.findings import Finding, at_lines
from trainers.data.tables import Table

JSON = "json"
"""As a separator: the column holds lists."""

Labels = tuple[str, ...]

_TRUE, _FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_NOTHING = {"", "-1", "-1.0"}
"""What stands in the columns of a split whose labels are hidden."""


def labels_of(
    table: Table, label: str | Sequence[str], separator: str | None, *, splits: Sequence[str | None]
) -> tuple[list[Labels | None], list[Finding]]:
    """Return the labels of each row, sorted; None where those of a whole validation or test split are hidden.

    Args:
        table: As it was read.
        label: Columns of 0 and 1, or the one column of all labels.
        separator: Between labels in that column; ``json`` for lists; None for columns of 0 and 1.
        splits: Which one the source puts each row in.

    Returns:
        The labels, and every cell that cannot be read.
    """
    if separator is None:
        return _from_columns(table, label, splits)
    values = table.columns[str(label)]
    hidden = _hidden([_written(value) in _NOTHING for value in values], splits)
    found: list[Labels | None] = []
    wrong: dict[str, list[int]] = {}
    for value, line, is_hidden in zip(values, table.lines, hidden, strict=True):
        try:
            names = _from_list(value) if separator == JSON else _from_text(value, separator)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(line)
            names = []
        found.append(None if is_hidden else tuple(sorted(set(names))))
    rule = "a JSON list of labels" if separator == JSON else f"labels with {separator!r} between them"
    findings = []
    for got, lines in wrong.items():
        message = f"column {label!r} must hold {rule} in each row, got {got}; fix these"
        findings += at_lines(Finding("no labels", message, "error", table.name, unit=table.unit), lines)
    return found, findings


def is_truth(value: Any) -> bool | None:
    """Return whether a cell says that a text has a label; None if it says neither."""
    written = _written(value).lower()
    return True if written in _TRUE else False if written in _FALSE else None


def joined(labels: Labels) -> str:
    """Write the labels of a text as one text, equal for equal labels."""
    return json.dumps(sorted(labels), ensure_ascii=False)


def _from_columns(
    table: Table, columns: Sequence[str], splits: Sequence[str | None]
) -> tuple[list[Labels | None], list[Finding]]:
    cells = {column: [_written(value).lower() for value in table.columns[column]] for column in columns}
    rows = list(zip(*cells.values(), strict=True))
    hidden = _hidden([{*row} <= _NOTHING for row in rows], splits)
    findings = []
    for column, written in cells.items():
        wrong = [
            (value, line)
            for value, line, is_hidden in zip(written, table.lines, hidden, strict=True)
            if value not in _TRUE | _FALSE and not is_hidden
        ]
        shown = ", ".join(repr(value) if value else "nothing" for value in sorted({v for v, _ in wrong})[:3])
        message = f"column {column!r} must hold 0 or 1 in each row, got {shown}; fix these"
        finding = Finding("no 0 or 1", message, "error", table.name, unit=table.unit)
        findings += at_lines(finding, [line for _, line in wrong])
    found = [
        None
        if is_hidden
        else tuple(sorted(column for column, value in zip(columns, row, strict=True) if value in _TRUE))
        for row, is_hidden in zip(rows, hidden, strict=True)
    ]
    return found, findings


def _hidden(nothing: Sequence[bool], splits: Sequence[str | None]) -> list[bool]:
    """Tell which rows belong to a validation or test split in which no row says anything."""
    known = {split for split, empty in zip(splits, nothing, strict=True) if not empty}
    return [split in {"validation", "test"} and split not in known for split in splits]


def _from_text(value: Any, separator: str) -> list[str]:
    if isinstance(value, list | dict):
        raise ValueError(f'a {type(value).__name__} (data.label_separator = "json" reads lists)')
    return [part for part in (part.strip() for part in _written(value).split(separator)) if part]


def _from_list(value: Any) -> list[str]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            raise ValueError(f"{_short(value)!r}") from None
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return []
    if not isinstance(value, list):
        raise ValueError(f"{_short(str(value))!r}")
    odd = [item for item in value if not isinstance(item, str | int | float)]
    if odd:
        raise ValueError(f"a list with {_short(str(odd[0]))!r} in it")
    return [name for name in (_written(item) for item in value) if name]


def _written(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("\0", "").strip()


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."
