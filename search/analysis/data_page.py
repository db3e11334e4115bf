"""What there is to know about the texts of a study, in words: the data page of a report."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

SPLITS = ("train", "validation", "test")
MOST_CLASSES_SHOWN = 12


def print_page(data: dict[str, Any] | None, console: Console) -> None:
    """Print the data page: texts by split and class, then notes, what was mended, and warnings.

    Args:
        data: As ``trainers.data.splits.describe_data`` gives it, and ``summarise`` hands on; nothing is printed of
            None, nor of what a study that was searched before there was a data page says.
        console: Where to.
    """
    if not data or "texts_per_class" not in data:
        return
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say("\nData", style="bold")
    console.print(_table(data))
    for severity, style in (("note", ""), ("mended", ""), ("warning", "bold yellow")):
        for finding in data["findings"]:
            if finding["severity"] == severity:
                say(f"  {_LEAD[severity]}{describe(finding)}", style=style)


def warnings_of(data: dict[str, Any]) -> Iterable[str]:
    """Yield what is to be said before any training: each warning, and what was mended."""
    for finding in data["findings"]:
        if finding["severity"] == "warning":
            yield f"warning: {describe(finding)}"
    mended = [finding for finding in data["findings"] if finding["severity"] == "mended"]
    if mended:
        yield "mended: " + "; ".join(describe(finding) for finding in mended)


def describe(finding: dict[str, Any]) -> str:
    """Say in a line what was noticed, and where."""
    from trainers.data import Finding

    return str(Finding(**{**finding, "lines": tuple(finding["lines"])}))


_LEAD = {"note": "", "mended": "mended: ", "warning": "warning: "}


def _table(data: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("class")
    for name in SPLITS:
        table.add_column(name, justify="right")
    counts = [data["texts_per_class"][name] for name in SPLITS]
    for i, name in enumerate(data["class_names"][:MOST_CLASSES_SHOWN]):
        table.add_row(Text(name), *(f"{split[i]:,}" for split in counts))
    more = len(data["class_names"]) - MOST_CLASSES_SHOWN
    if more > 0:
        table.add_row(f"{more} more", *(f"{sum(split[MOST_CLASSES_SHOWN:]):,}" for split in counts))
    table.add_row("all", *(f"{data[name]:,}" for name in SPLITS), style="bold")
    return table
