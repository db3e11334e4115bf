"""The text of a CSV file cut into rows: which delimiter, quotes and line ends make them all fit their header."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from trainers.data.findings import Finding, at_lines

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LONGEST_FIELD = 2**31 - 1
"""Characters; the csv module's own limit is 131,072, and fits in a C long everywhere."""

# Excel writes it above the header where a comma is the decimal point.
_SEPARATOR = re.compile(r'\s*"?sep=([^\w\s"]|\t)"?[ ,;\t]*(?:\r\n|\n|\r)', re.IGNORECASE)
_LONE_RETURN = re.compile(r"\r(?!\n)")

GridRows = list[tuple[int, list[str]]]
"""Fields of each row, with the line at which it begins, counted from 1. Rows without any content are left out."""


@dataclass(frozen=True)
class Grid:
    """Rows of a file, the header first.

    Attributes:
        rows: All as long as the header, but for those that cannot be.
        delimiter: Sets fields apart.
        findings: What was noticed, errors among them.
    """

    rows: GridRows
    delimiter: str
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether it is a table: no errors, and two columns at least."""
        errors = any(finding.severity == "error" for finding in self.findings)
        return bool(self.rows) and not errors and len(self.rows[0][1]) > 1

    @property
    def num_faults(self) -> int:
        """Lines that cannot be used."""
        return sum(finding.count for finding in self.findings if finding.severity == "error")


def read_grid(text: str, name: str, *, usual: str, blank_rows: bool = False) -> Grid:
    """Cut the text of a file into rows.

    It is read as most programs would. Only if that gives no table, other readings are tried: another delimiter of
    the header, blanks before quotes, carriage returns inside texts, quotes that are no quotes. The first reading
    that gives a table is taken, else the one with the fewest faults.

    Args:
        text: All of it.
        name: Of the file, for messages.
        usual: Delimiter that such files have.
        blank_rows: Whether rows below the header whose fields are all empty are rows.
    """
    separator = _SEPARATOR.match(text)
    first_line = 1
    if separator:
        first_line += separator[0].count("\n") or 1
        text = text[separator.end() :]
    delimiters = [separator[1]] if separator else _delimiters(text, usual)
    tried = []
    for delimiter in delimiters:
        for reading in _readings(text, delimiter):
            grid = _read(text, name, delimiter, reading._replace(blank_rows=blank_rows), first_line)
            if grid.is_sound:
                return grid
            tried.append(grid)
    wide = [grid for grid in tried if grid.rows and len(grid.rows[0][1]) > 1]
    return min(wide or tried, key=lambda grid: grid.num_faults)


class _Reading(NamedTuple):
    """How a file is cut, where it is not as most programs do it."""

    blanks: bool = False
    """Blanks before quotes are left out."""
    returns: bool = False
    """Carriage returns alone end no row."""
    plain_quotes: bool = False
    """Quotes are characters like others, and every line is a row."""
    blank_rows: bool = False
    """Rows whose fields are all empty are rows."""


def _delimiters(text: str, usual: str) -> list[str]:
    """Return the delimiters of the header, the most likely one first."""
    header = text.lstrip().partition("\n")[0]
    first = "\t" if usual == "\t" else max(DELIMITERS, key=header.count)
    return [first, *(other for other in DELIMITERS if other != first and other in header)]


def _readings(text: str, delimiter: str) -> list[_Reading]:
    """Return what may be tried on this text, as most programs would read it first."""
    before_quotes = re.search(rf'(?:{re.escape(delimiter)}|^) +"', text, re.MULTILINE) is not None
    lone_returns = "\n" in text and _LONE_RETURN.search(text) is not None
    readings = [
        _Reading(blanks, returns)
        for returns in (False, True)[: 1 + lone_returns]
        for blanks in (False, True)[: 1 + before_quotes]
    ]
    return [*readings, _Reading(plain_quotes=True)] if delimiter == "\t" else readings


def _read(text: str, name: str, delimiter: str, reading: _Reading, first_line: int) -> Grid:
    findings: list[Finding] = []
    rows, badly_quoted = _split(text, delimiter, reading, first_line)
    if not reading.returns and not badly_quoted and "\n" in text and _LONE_RETURN.search(text):
        # In quotes they end no row; nor do they end a line that an editor counts.
        same, _ = _split(text, delimiter, reading._replace(returns=True), first_line)
        if [fields for _, fields in same] == [fields for _, fields in rows]:
            rows = same
    if reading.returns:
        message = "carriage returns alone end no row here, and were taken for blanks"
        lines = [line for line, fields in rows if any("\r" in field for field in fields)]
        findings += at_lines(Finding("line ends", message, "mended", name), lines)
    if reading.blanks:
        findings.append(
            Finding("quoting", "blanks between delimiters and quotes were left out", "mended", name)
        )
    if reading.plain_quotes:
        message = "quotes are not paired, so they are taken for what they are, and every line for a row"
        findings.append(Finding("quoting", message, "mended", name))
    message = (
        "a field that begins with a quote must end with one, right before the next delimiter, and a quote inside it is "
        "doubled; fix these"
    )
    findings += at_lines(Finding("quoting", message, "error", name), badly_quoted)
    rows, more = _fit(rows, delimiter, name)
    return Grid(rows, delimiter, (*findings, *more))


def _fit(rows: GridRows, delimiter: str, name: str) -> tuple[GridRows, list[Finding]]:
    """Bring rows to the length of the header where nothing is lost, and leave out headers among them."""
    if not rows:
        return [], []
    header = [_bare(field) for field in rows[0][1]]
    findings = []

    def is_header(fields: list[str]) -> bool:
        return [_bare(field) for field in fields] == header or delimiter.join(
            fields
        ).lower() == f"sep={delimiter}"

    repeated = {line for line, fields in rows[1:] if is_header(fields)} if len(header) > 1 else set()
    message = "the header once more, as where files were joined; left out"
    findings += at_lines(Finding("repeated header", message, "mended", name), repeated)
    body = [(line, fields) for line, fields in rows[1:] if line not in repeated]
    width = len(header)
    num_named = max((i for i, column in enumerate(header, 1) if column), default=width)
    lengths = {len(fields) for _, fields in body}
    if min(lengths, default=0) == max(lengths, default=0) > width and not any(
        field.strip() for _, fields in body for field in fields[width:]
    ):
        message = f"every row ends in {delimiter!r} with nothing behind it; left out"
        findings.append(Finding("ragged rows", message, "mended", name, count=len(body)))
        body = [(line, fields[:width]) for line, fields in body]
    body = [
        (line, fields + [""] * (width - len(fields)) if num_named <= len(fields) else fields)
        for line, fields in body
    ]
    ragged = [(line, fields) for line, fields in body if len(fields) != width]
    counts = Counter(len(fields) for _, fields in ragged)
    if len(counts) == 1 and len(ragged) == len(body) > 1:
        message = (
            f"the first line must name all columns, got {_listed(header)}, while every row has {next(iter(counts))} "
            "fields; fix it, or remove the lines above it"
        )
        findings.append(Finding("ragged rows", message, "error", name, count=len(ragged)))
    else:
        some = " and ".join(str(count) for count, _ in counts.most_common(3))
        message = (
            f"a row must have {width} fields as the header has, got {some}; put texts that hold the delimiter or a "
            "line break in quotes"
        )
        found = at_lines(Finding("ragged rows", message, "error", name), (line for line, _ in ragged))
        findings += found
    return [(rows[0][0], header), *body], findings


def _split(text: str, delimiter: str, reading: _Reading, first_line: int) -> tuple[GridRows, list[int]]:
    """Split into rows; returns them, and the lines of rows with wrong quotes."""
    hidden = ""
    if reading.returns:
        # The csv module always ends rows at them: they are replaced by a character that the text lacks.
        hidden = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
        text = _LONE_RETURN.sub(hidden, text)
    rows: GridRows = []
    badly_quoted: list[int] = []
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            quoting=csv.QUOTE_NONE if reading.plain_quotes else csv.QUOTE_MINIMAL,
            skipinitialspace=reading.blanks,
            strict=True,
        )
        for line, fields in _numbered(reader, badly_quoted.append, first_line):
            if any(field.strip() for field in fields) or (reading.blank_rows and rows and fields):
                rows.append((line, [field.replace(hidden, "\r") for field in fields] if hidden else fields))
    finally:
        csv.field_size_limit(limit)
    return rows, badly_quoted


def _numbered(
    reader: Any, on_error: Callable[[int], None], first_line: int
) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = reader.line_num + first_line
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error:  # the reader goes on behind the line at which it noticed
            on_error(line)


def _bare(field: str) -> str:
    """Return the name of a column without blanks, and without what joining files leaves before it."""
    return field.strip().strip("\0\ufeff").strip('"') if "\ufeff" in field else field.strip().strip("\0")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
