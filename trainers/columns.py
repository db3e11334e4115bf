"""Which column holds the texts, which the labels: as told, else by usual names, else by kind of content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trainers.config import DataConfig
from trainers.errors import nearest
from trainers.findings import Finding
from trainers.tables import Table

TEXT_NAMES = (
    *("text", "texts", "sentence", "review", "content", "body", "message", "comment", "document", "tweet"),
    *("utterance", "question", "description", "headline", "title"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "rating", "stars"),
)
"""Usual names, the first that a table has is taken; upper and lower case are the same."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What data sets call the three splits."""

LOOKED_AT = 1000
"""Rows that tell what kind of content a column has."""

MOST_CLASSES = 50


def choose_columns(table: Table, config: DataConfig) -> tuple[str | None, str | None, list[Finding]]:
    """Return the columns of texts and labels, None for one that is missing, and what there is to say about it."""
    text, about_text = _choose(table, config.text, TEXT_NAMES, _looks_like_texts, "text", taken=config.label)
    label, about_label = _choose(table, config.label, LABEL_NAMES, _looks_like_labels, "label", taken=text)
    findings = [about_text, about_label]
    if text is not None and text == label:
        message = f"data.text and data.label must be two columns, got {text!r} for both; change one"
        findings.append(Finding("one column twice", message, "error", table.name))
    elif label is not None and label in table.columns[label]:
        message = (
            f"the first line must name the columns, got {_listed(table.columns)}, and {label!r} is also a label; put "
            "a line such as text,label on top"
        )
        findings.append(Finding("no header", message, "error", table.name, (1,)))
    return text, label, findings


def check_present(table: Table, columns: Sequence[str | None]) -> list[Finding]:
    """Say which of ``columns`` a further table lacks."""
    return [
        _missing(table, column) for column in columns if column is not None and column not in table.columns
    ]


def suggest_split(table: Table) -> list[Finding]:
    """Warn of a column that seems to name each row's split, though nobody asked for it."""
    for column, values in table.columns.items():
        named = {str(value).strip().lower() for value in values}
        if len(named) > 1 and named <= SPLIT_NAMES.keys():
            message = (
                f"column {column!r} seems to name each row's split and is not used; set data.split = {column!r} to "
                "respect it"
            )
            return [Finding("unused splits", message, "warning", table.name)]
    return []


def _choose(
    table: Table,
    wanted: str | None,
    usual: Sequence[str],
    looks_right: Callable[[list[Any]], bool],
    what: str,
    *,
    taken: str | None,
) -> tuple[str | None, Finding]:
    """Return a column, or None, and a note how it was found, or an error why none was."""
    columns = {
        column: values for column, values in table.columns.items() if column != taken or column == wanted
    }
    plain = {column.strip().lower(): column for column in reversed(columns)}
    named = next((plain[name] for name in usual if name in plain), None)
    alike = [column for column, values in columns.items() if looks_right(_present(values[:LOOKED_AT]))]
    if wanted is not None and wanted not in columns:
        return None, _missing(table, wanted, what=what)
    if wanted is not None:
        column, how = wanted, "as named"
    elif named is not None:
        column, how = named, "found by its name"
    elif len(alike) == 1:
        column, how = alike[0], "found by its content"
    else:
        message = (
            f"no column has a usual name for {what}s ({', '.join(usual[:5])}, ...), and "
            f"{'none looks' if not alike else f'{_listed(alike)} look'} like them; columns are "
            f"{_listed(table.columns)}; name one with data.{what}"
        )
        return None, Finding(f"no {what} column", message, "error", table.name)
    return column, Finding("columns", f"{what}s are in column {column!r}, {how}", "note", table.name)


def _missing(table: Table, column: str, *, what: str | None = None) -> Finding:
    key = f"data.{what} = {column!r}: " if what else ""
    hint = nearest(column, table.columns)
    message = f"{key}no column {column!r}; columns are {_listed(table.columns)}{hint}"
    return Finding("missing column", message, "error", table.name)


def _present(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None and value != ""]


def _looks_like_texts(values: list[Any]) -> bool:
    words = sum(len(v.split()) for v in values if isinstance(v, str))
    return len(values) > 0 and words >= 3 * len(values) and len(set(map(str, values))) > len(values) / 2


def _looks_like_labels(values: list[Any]) -> bool:
    distinct = {str(v) for v in values}
    return 2 <= len(distinct) <= min(MOST_CLASSES, len(values) / 5)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(repr(column) for column in columns)
