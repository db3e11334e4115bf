"""CSV, TSV and JSONL with their line numbers: every mistake in a file is found in one go.

Read by the standard library rather than by ``datasets``, which guesses types (``007`` becomes 7, ``NA`` nothing),
renames duplicate headers, and stops at the first ragged row.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainers.data.findings import Finding, at_lines, stop_on_errors
from trainers.data.grid import DELIMITERS, GridRows, read_grid
from trainers.errors import InputError
from trainers.formats import by_content

# Bytes that are no UTF-8 come out of "surrogateescape" as U+DC80 to U+DCFF; Windows-1252 leaves five gaps.
_ESCAPED = re.compile("[\udc80-\udcff]")
_FROM_1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)}
_FROM_ESCAPED = {0xDC00 + byte: character for byte, character in _FROM_1252.items()}


@dataclass(frozen=True)
class Table:
    """Columns of a file, or of a split that a data set gives.

    Attributes:
        name: Of the file, for messages.
        columns: Values by column, as they were read: from CSV strings only, from JSON also None, bool, list and dict.
        lines: Where each row begins, counted from 1.
        unit: What ``lines`` counts.
        findings: What was noticed on the way; no errors among them.
        header: Line that names the columns; None where every row does, or the format.
    """

    name: str
    columns: dict[str, list[Any]]
    lines: list[int]
    unit: Literal["line", "row"]
    findings: tuple[Finding, ...] = ()
    header: int | None = None


def read_csv(path: Path, *, blank_rows: bool = False) -> Table:
    """Read a CSV or TSV file whose first line names the columns; all values stay strings.

    Args:
        path: Of the file.
        blank_rows: Whether rows whose fields are all empty are rows.

    Raises:
        InputError: Every ragged row, wrong quote and duplicate header, in one message.
    """
    text, findings = _read_text(path)
    name = path.name
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    grid = read_grid(text, name, usual=usual, blank_rows=blank_rows)
    if grid.delimiter != usual:
        word = DELIMITERS.get(grid.delimiter, repr(grid.delimiter))
        findings.append(Finding("delimiter", f"columns are set apart by {word}", "note", name))
    findings += grid.findings
    if not grid.rows:
        message = "must have a first line that names the columns, and rows below it; the file is empty"
        stop_on_errors([*findings, Finding("empty file", message, "error", name)])
    (line, header), *rows = grid.rows
    repeated = [column for column, count in Counter(header).items() if column and count > 1]
    if repeated:
        message = f"columns must have different names, got {_listed(repeated)} more than once; rename them"
        findings.append(Finding("duplicate headers", message, "error", name, (line,)))
    if not rows and not any(finding.severity == "error" for finding in grid.findings):
        message = f"must have rows below its header {_listed(header)}, got none; add them"
        findings.append(Finding("header only", message, "error", name))
    stop_on_errors(findings)
    columns, unnamed = _columns(header, rows, name)
    return Table(name, columns, [line for line, _ in rows], "line", (*findings, *unnamed), header=line)


def _columns(header: list[str], rows: GridRows, name: str) -> tuple[dict[str, list[Any]], list[Finding]]:
    """Return the columns, and a warning of those that cannot be read because they have no name.

    One column may be nameless, as the numbers of rows that pandas writes. Nameless columns that are empty for the most
    part are what is left over: of a spreadsheet's width, or of texts that were cut at a delimiter.
    """
    nameless = [i for i, column in enumerate(header) if not column]
    filled = {i: [line for line, fields in rows if fields[i].strip()] for i in nameless}
    whole = [i for i in nameless if len(filled[i]) > len(rows) / 2]
    kept = {i for i in range(len(header)) if header[i] or [i] == whole}
    lost = sorted({line for i in nameless if i not in kept for line in filled[i]})
    message = "the contents of columns without a name are not read; name them, or put texts that hold the delimiter in quotes"
    columns = {header[i]: [fields[i] for _, fields in rows] for i in sorted(kept)}
    return columns, at_lines(Finding("nameless columns", message, "warning", name), lost)


def read_jsonl(path: Path) -> Table:
    """Read a file with one JSON object a line, or an array of objects; numbers stay as they are written.

    Raises:
        InputError: Every line that is none, in one message.
    """
    text, findings = _read_text(path)
    rows = _array(text, path.name)
    if rows is not None:
        names = dict.fromkeys(key for content in rows for key in content)
        columns = {key: [content.get(key) for content in rows] for key in names}
        findings.append(Finding("JSON", "read as one JSON array of objects", "note", path.name))
        return Table(path.name, columns, list(range(1, len(rows) + 1)), "row", tuple(findings))
    objects: list[tuple[int, dict[str, Any]]] = []
    broken: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                objects.append((number, _json_object(line)))
            except (ValueError, RecursionError) as error:
                broken.setdefault(_reason(error), []).append(number)
    for reason, lines in broken.items():
        message = (
            f'every line must be one JSON object such as {{"text": ..., "label": ...}}, got {reason}; fix it'
        )
        findings += at_lines(Finding("JSON", message, "error", path.name), lines)
    if not objects and not broken:
        message = "must have one JSON object a line; the file is empty"
        findings.append(Finding("empty file", message, "error", path.name))
    stop_on_errors(findings)
    names = dict.fromkeys(key for _, content in objects for key in content)
    columns = {key: [content.get(key) for _, content in objects] for key in names}
    return Table(path.name, columns, [number for number, _ in objects], "line", tuple(findings))


def _read_text(path: Path) -> tuple[str, list[Finding]]:
    """Read a file as UTF-8, or UTF-16 if it says so; what is neither is read as Windows-1252; see ``decode``."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check path and permissions") from error
    return decode(content, path)


def check_text(path: Path) -> None:
    """Check that a file that is to be read as text is none of the kinds that are known not to be.

    Raises:
        InputError: It is one of these, or cannot be read.
    """
    try:
        kind = by_content(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check path and permissions") from error
    if kind is not None:
        raise InputError(f"{path} must be text, got {kind}")


def decode(content: bytes, path: Path) -> tuple[str, list[Finding]]:
    """Turn what was read from ``path`` into text, as UTF-8, UTF-16 or Windows-1252.

    Raises:
        InputError: It is no text.
    """
    name = path.name
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
        return text, [Finding("encoding", "read as UTF-16, as its byte order mark says", "note", name)]
    if content.count(0) > len(content) // 5:
        raise InputError(
            f"{path} must be text, got a fifth or more of NUL bytes, as in UTF-16 without a byte order mark; save it as UTF-8"
        )
    marked = content.startswith(codecs.BOM_UTF8)
    text = content.decode("utf-8-sig", "surrogateescape")
    num_foreign = len(_ESCAPED.findall(text))
    if not num_foreign:
        bom = ", without its byte order mark" if marked else ""
        return text, [Finding("encoding", f"read as UTF-8{bom}", "note", name)]
    lines = [n for n, line in enumerate(text.split("\n"), 1) if _ESCAPED.search(line)]
    # An accented capital and a quote may look like UTF-8: the majority decides for the whole file.
    if sum(character > "\x7f" for character in text) - num_foreign < num_foreign:
        text = content.decode("latin-1").translate(_FROM_1252)
        message = "not UTF-8: read as Windows-1252 (latin-1); save the file as UTF-8 if letters look wrong"
    else:
        text = text.translate(_FROM_ESCAPED)
        message = f"UTF-8 but for {num_foreign:,} bytes, which were read as Windows-1252 (latin-1)"
    return text, at_lines(Finding("encoding", message, "mended", name), lines)


def _array(text: str, name: str) -> list[dict[str, Any]] | None:
    """Return the objects of a file that is one JSON array; None if it is none.

    Raises:
        InputError: It begins as one, but is broken, empty, or holds something else.
    """
    if not text.lstrip().startswith("["):
        return None
    rule = "must be one JSON array of objects, or have one object a line"
    try:
        content = _parsed(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # an array a line
            return None
        raise InputError(f"{name}, line {error.lineno}: {rule}, got {_reason(error)}; fix it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: {rule}, got {_reason(error)}; fix it") from error
    wrong = [i for i, row in enumerate(content, 1) if not isinstance(row, dict)]
    if wrong or not content:
        got = f"a {type(content[wrong[0] - 1]).__name__} as item {wrong[0]}" if wrong else "an empty array"
        raise InputError(f"{name}: {rule}, got {got}; fix it")
    return list(content)


def _json_object(line: str) -> dict[str, Any]:
    content = _parsed(line)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    return content


def _parsed(text: str) -> Any:
    # str as number parser: 1.50 stays 1.50, and no number is too large.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"the key {_listed(repeated)} twice")
    return content


def _reason(error: Exception) -> str:
    return error.msg.lower() if isinstance(error, json.JSONDecodeError) else str(error)


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
