"""Rows of a file, whole: read for their texts, written back with what a model says of these."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.config import FILE_SUFFIXES
from trainers.data.findings import Finding
from trainers.data.pairs import Text, sides
from trainers.data.sources import text_of
from trainers.data.tables import check_text, decode, read_csv, read_jsonl
from trainers.data.typed import read_arrow
from trainers.errors import InputError, nearest
from trainers.files import write_atomically

ADDED = ("prediction", "probability")
"""The columns that rows are given."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}

Answer = tuple[str | tuple[str, ...] | None, float | tuple[float, ...] | None]
"""A label and its probability; two times None for a row without a text; of several labels a text, a tuple of either."""


@dataclass(frozen=True)
class Rows:
    """All rows of a file.

    Attributes:
        path: Of the file.
        rows: By column what it holds.
        texts: Of the column that was asked for, or pairs of two.
        findings: What was noticed while reading; no errors among them.
    """

    path: Path
    rows: list[dict[str, Any]]
    texts: list[Text]
    findings: tuple[Finding, ...]


def read_rows(path: Path, column: str | tuple[str, str]) -> Rows:
    """Read all rows of a CSV, TSV, JSONL or Parquet file, as training reads them.

    Args:
        path: Of the file.
        column: Of the texts, or the two of pairs.

    Raises:
        InputError: The file cannot be read, or has no such column of texts.
    """
    suffix = path.suffix.lower()
    if suffix not in FILE_SUFFIXES or not path.is_file():
        raise InputError(
            f"--column needs a --file that is there and ends in {', '.join(FILE_SUFFIXES)}, got {path}; fix the path, or "
            "leave --column out for one text a line"
        )
    findings: tuple[Finding, ...] = ()
    if suffix != ".parquet":
        check_text(path)
    if suffix == ".parquet":
        content = read_arrow(path)
        rows, columns = content.to_pylist(), content.column_names
        values = {name: content[name].to_pylist() for name in sides(column) if name in columns}
    else:
        table = read_jsonl(path) if suffix == ".jsonl" else read_csv(path, blank_rows=True)
        columns, values, findings = [*table.columns], table.columns, table.findings
        if suffix == ".jsonl":  # once more, for numbers to be numbers
            text, _ = decode(path.read_bytes(), path)
            lines = text.split("\n")
            rows = (
                json.loads(text) if table.unit == "row" else [json.loads(lines[n - 1]) for n in table.lines]
            )
        else:
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*table.columns.values(), strict=True)]
    missing = [name for name in sides(column) if name not in columns]
    if missing:
        raise InputError(
            f"{path.name}: no column {' and none '.join(map(repr, missing))}; columns are {', '.join(map(repr, columns))}"
            f"{nearest(missing[0], columns)}"
        )
    there = [name for name in ADDED if name in columns]
    if there:
        raise InputError(
            f"{path.name}: the columns {' and '.join(map(repr, ADDED))} are added, got {' and '.join(map(repr, there))} "
            "already; rename them"
        )
    for name in sides(column):
        kinds = sorted(
            {type(v).__name__ for v in values[name] if not isinstance(v, str | int | float | None)}
        )
        if kinds:
            raise InputError(
                f"{path.name}: column {name!r} must hold one text a row, got {', '.join(kinds)}; name another"
            )
    if isinstance(column, str):
        return Rows(path, rows, [text_of(value) for value in values[column]], findings)
    pairs = zip(*([text_of(value) for value in values[name]] for name in column), strict=True)
    return Rows(path, rows, list(pairs), findings)


def check_out(out: Path, path: Path) -> None:
    """Check before anything is computed that rows can be written to ``out``.

    Raises:
        InputError: They cannot.
    """
    if out.suffix.lower() not in FILE_SUFFIXES:
        raise InputError(f"--out must end in {', '.join(FILE_SUFFIXES)}, got {out}; rename it")
    if out.exists() and out.samefile(path):
        raise InputError(f"--out must be another file than --file, got {out} for both; rename it")


def write_rows(rows: Rows, answers: Sequence[Answer], out: Path | None) -> str:
    """Write rows with their answers to a file of the kind that its name says.

    Args:
        rows: As they were read.
        answers: One a row.
        out: The file; None writes none.

    Returns:
        Without a file, what there is to print: CSV for CSV, TSV for TSV, and JSON lines for the others.

    Raises:
        InputError: The file cannot be written.
    """
    suffix = (out or rows.path).suffix.lower()
    if suffix in DELIMITERS:
        answers = [(in_a_cell(label), in_a_cell(probability)) for label, probability in answers]
    full = [
        {**row, **dict(zip(ADDED, answer, strict=True))}
        for row, answer in zip(rows.rows, answers, strict=True)
    ]
    if suffix == ".parquet" and out is not None:
        write_atomically(out, _parquet(rows, answers, full))
        return ""
    if suffix in DELIMITERS:
        file = io.StringIO()
        writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n")
        columns = list(dict.fromkeys(column for row in full for column in row))
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in full)
        content = file.getvalue()
    else:
        content = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in full)
    encoded = content.encode("utf-8", "backslashreplace")  # half a character, as JSON escapes it
    if out is None:
        return encoded.decode()
    write_atomically(out, encoded)
    return ""


def in_a_cell(value: Any) -> Any:
    """Return several labels, or their probabilities, as one text; anything else as it is."""
    return ";".join(map(str, value)) if isinstance(value, tuple) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _parquet(rows: Rows, answers: Sequence[Answer], full: list[dict[str, Any]]) -> bytes:
    """Return a Parquet file; the columns of one keep their types."""
    import pyarrow
    from pyarrow import parquet

    types = (pyarrow.string(), pyarrow.float64())
    if any(isinstance(label, tuple) for label, _ in answers):
        types = tuple(map(pyarrow.list_, types))
    try:
        if rows.path.suffix.lower() == ".parquet":
            table = read_arrow(rows.path)
            for i, (name, kind) in enumerate(zip(ADDED, types, strict=True)):
                table = table.append_column(name, pyarrow.array([answer[i] for answer in answers], kind))
        else:
            table = pyarrow.Table.from_pylist(full)
        sink = io.BytesIO()
        parquet.write_table(table, sink)
    except (pyarrow.ArrowException, TypeError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"{rows.path.name} cannot be written as Parquet, whose columns have one type each: {error}; let --out end in "
            ".jsonl"
        ) from error
    return sink.getvalue()
