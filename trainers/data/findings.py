"""What is noticed about texts: good to know, fixed, worth a warning, or an error that prevents training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from trainers.errors import InputError

Severity = Literal["error", "warning", "mended", "note"]

SHOWN_AS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "mended": "fixed", "note": "note"}
"""What people read for a severity: studies and reports store ``mended``, and go on doing so."""

LINES_SHOWN = 5

_EXPLAINS: tuple[Severity, ...] = ("warning", "mended", "note")
_TELLING = {"delimiter", "guessed columns", "pair columns"}
"""Notes of what was guessed; others explain no error."""


@dataclass(frozen=True)
class Finding:
    """One kind of thing noticed in one file.

    Attributes:
        kind: In a few words, the same for all findings of a kind.
        message: Rule, value and remedy, or what was done.
        severity: ``error`` stops before any training, ``warning`` is said, ``mended`` was fixed and counted,
            ``note`` is good to know.
        file: Name of the file or data set that was read.
        lines: The first few lines of the file, counted from 1, ascending; empty where it has none, or all are meant.
        count: How many lines or texts in all.
        unit: What ``lines`` counts: a Parquet file or a saved data set has rows.
    """

    kind: str
    message: str
    severity: Severity
    file: str = ""
    lines: tuple[int, ...] = ()
    count: int = 1
    unit: Literal["line", "row"] = "line"

    @property
    def mended(self) -> bool:
        """Whether it was fixed."""
        return self.severity == "mended"

    def __str__(self) -> str:
        return f"{self._place()}: {self.message}" if self.file else self.message

    def _place(self) -> str:
        if not self.lines:
            return self.file
        several = "s" if self.count > 1 else ""
        more = f" and {self.count - len(self.lines):,} more" if self.count > len(self.lines) else ""
        return f"{self.file}, {self.unit}{several} {', '.join(map(str, self.lines))}{more}"


def at_lines(finding: Finding, lines: Iterable[int]) -> list[Finding]:
    """Return ``finding`` with its lines and their count, in a list that is empty if there are none."""
    return at_places(finding, ((finding.file, line) for line in lines))


def at_places(finding: Finding, places: Iterable[tuple[str, int]]) -> list[Finding]:
    """Return ``finding`` once for each file, with its lines there and their count."""
    lines: dict[str, list[int]] = defaultdict(list)
    for file, line in places:
        lines[file].append(line)
    return [
        replace(finding, file=file, lines=tuple(sorted(found)[:LINES_SHOWN]), count=len(found))
        for file, found in lines.items()
    ]


def stop_on_errors(findings: Sequence[Finding]) -> None:
    """Do nothing unless a finding prevents training.

    Raises:
        InputError: Lists all that do, and what else was noticed.
    """
    errors = [str(f) for f in findings if f.severity == "error"]
    if errors:
        raise InputError("; ".join(errors) + _noticed(findings))


@contextmanager
def told_with_errors(findings: Sequence[Finding]) -> Iterator[None]:
    """Add what was noticed so far to any error, which it may explain.

    Raises:
        InputError: The same, with these findings.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}{_noticed(findings)}") from error


def _noticed(findings: Sequence[Finding]) -> str:
    """Say what may explain an error, the most telling first."""
    found = [f for f in findings if f.severity in _EXPLAINS and (f.severity != "note" or f.kind in _TELLING)]
    found.sort(key=lambda finding: _EXPLAINS.index(finding.severity))
    return f"; noticed on the way: {'; '.join(map(str, found))}" if found else ""
