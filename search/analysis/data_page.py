"""What there is to know about the texts of a study, in words: the data page of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal

from pydantic import Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.study import Frozen

MOST_CLASSES_SHOWN = 12

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class FindingNoted(Frozen):
    """Something that was noticed about the texts."""

    kind: str = Field(description="What kind of thing.")
    severity: Literal["note", "mended", "warning", "error"] = Field(description="How much it matters.")
    message: str = Field(description="In words.")
    file: str | None = Field(description="Where.")
    lines: list[int] = Field(description="The first few lines or rows.")
    unit: str = Field(description="What the lines count.")
    count: int = Field(description="How many in all.")


class DataPage(Frozen):
    """What there is to know about the texts; studies of version 0.1.0 know the first three figures alone."""

    train: int = Field(description="Texts in the training split.")
    validation: int = Field(description="Texts in the validation split.")
    test: int = Field(description="Texts in the test split.")
    class_names: list[str] = Field(default=[], description="In the order of the class indices.")
    texts_per_class: dict[Split, list[int]] | None = Field(
        default=None,
        description="By split, one number a class; a text that has several labels counts for each of them.",
    )
    ordered: Literal[True] | None = Field(
        default=None, description="True where classes are steps of a scale; there is no such key elsewhere."
    )
    positive: str | None = Field(
        default=None, description="Class that is looked for, of two; there is no such key elsewhere."
    )
    several_labels: Literal[True] | None = Field(
        default=None, description="True where a text may have several labels; there is no such key elsewhere."
    )
    texts_without_label: dict[Split, int] | None = Field(
        default=None, description="By split, texts that have none of several labels; no such key elsewhere."
    )
    texts_cut: dict[Split, int] | None = Field(
        default=None, description="By split, texts longer than what is read."
    )
    tokens: dict[Split, int] | None = Field(default=None, description="By split, all tokens.")
    tokens_kept: dict[Split, int] | None = Field(default=None, description="By split, tokens that are read.")
    duplicates: int | None = Field(default=None, description="Texts that stood twice, and were removed.")
    contradictions: int | None = Field(
        default=None, description="Texts that stood twice with different labels, and were removed."
    )
    mended: int | None = Field(default=None, description="Texts whose markup or white space was cleaned.")
    findings: list[FindingNoted] = Field(default=[], description="What was noticed about the texts.")
    fingerprint: str | None = Field(default=None, description="SHA-256 of all rows of the source.")
    folds: int | None = Field(
        default=None,
        description="Folds, if there are any: each of the texts counted under train and validation is validated on once. Absent "
        "where there is a validation split.",
    )


def print_page(data: DataPage | None, console: Console) -> None:
    """Print the data page: texts by split and class, then notes, what was mended, and warnings.

    Args:
        data: Nothing is printed of None, nor of what a study that was searched before there was a data page says.
        console: Where to.
    """
    if data is None or data.texts_per_class is None:
        return
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say("\nData", style="bold")
    heads, rows = texts_table(data)
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for name, *numbers in rows[:-1]:
        table.add_row(Text(name), *numbers)
    table.add_row(*rows[-1], style="bold")
    console.print(table)
    for severity, style in (("note", ""), ("mended", ""), ("warning", "bold yellow")):
        for finding in data.findings:
            if finding.severity == severity:
                say(f"  {_LEAD[severity]}{describe(finding)}", style=style)


def warnings_of(data: DataPage) -> Iterable[str]:
    """Yield what is to be said before any training: each warning, and what was mended."""
    for finding in data.findings:
        if finding.severity == "warning":
            yield f"warning: {describe(finding)}"
    mended = [finding for finding in data.findings if finding.severity == "mended"]
    if mended:
        yield "fixed: " + "; ".join(describe(finding) for finding in mended)


def describe(finding: FindingNoted) -> str:
    """Say in a line what was noticed, and where."""
    from trainers.data import Finding

    return str(Finding(**finding.plain() | {"lines": tuple(finding.lines)}))


_LEAD = {"note": "", "mended": "fixed: ", "warning": "warning: "}


def texts_table(data: DataPage) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of a table: how many texts of each class each split has; the last row is that of all.

    Texts that are cut into folds stand in one column: they train and validate.
    """
    counts: Mapping[Split, list[int]] = data.texts_per_class or {}
    splits = [split for split in SPLITS if split != "validation" or data.folds is None]

    def row(name: str, numbers: Mapping[Split, int]) -> list[str]:
        return [name, *(f"{numbers[split]:,}" for split in splits)]

    names = data.class_names[:MOST_CLASSES_SHOWN]
    rows = [row(name, {s: numbers[i] for s, numbers in counts.items()}) for i, name in enumerate(names)]
    more = len(data.class_names) - MOST_CLASSES_SHOWN
    if more > 0:
        rows.append(row(f"{more} more", {s: sum(n[MOST_CLASSES_SHOWN:]) for s, n in counts.items()}))
    if data.texts_without_label is not None:
        rows.append(row("none of them", data.texts_without_label))
    everything: dict[Split, int] = {"train": data.train, "validation": data.validation, "test": data.test}
    rows.append(row("all texts" if data.several_labels else "all", everything))
    shown = [f"in {data.folds} folds" if split == "train" and data.folds else split for split in splits]
    return ["label" if data.several_labels else "class", *shown], rows
