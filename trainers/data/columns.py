"""Which column holds the texts, which the labels: as the user says, else by usual names, else by kind of content."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from trainers.config import DataConfig
from trainers.data.findings import Finding
from trainers.data.pairs import named_pair
from trainers.data.tables import Table
from trainers.errors import nearest

TEXT_NAMES = (
    *("text", "texts", "sentence", "review", "content", "body", "message", "comment", "document", "tweet"),
    *("utterance", "question", "description", "headline", "title"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "rating", "stars"),
)
"""Usual names, the first that a table has is taken; upper and lower case are the same."""

SET_NAMES = (
    "labels",
    "tags",
    "categories",
    "classes",
    "topics",
    "genres",
    "intents",
    "emotions",
    *LABEL_NAMES,
)
"""Likewise of a column with several labels a text."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What data sets call the three splits."""

GROUP_NAMES = frozenset(
    (
        *(
            "patient",
            "subject",
            "person",
            "author",
            "writer",
            "reviewer",
            "user",
            "username",
            "speaker",
            "student",
            "customer",
        ),
        *(
            "client",
            "account",
            "sender",
            "doc",
            "document",
            "article",
            "book",
            "thread",
            "conversation",
            "dialogue",
            "session",
        ),
        *("household", "family", "case", "group"),
    )
)
ID_NAMES = frozenset({"id", "uid", "guid", "uuid"})
"""Words in the name of a column that says what texts belong to."""

GROUP_COLUMN = "possible group column"
FEWEST_GROUPS = 3
FEWEST_IDS = 10
"""Different values of such a column: fewer are classes of something."""

START_WORDS = 8
SAME_START = 0.2
"""Share of the texts that begin like another one, from which it is told."""

_WORD_OF_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

LOOKED_AT = 1000
"""Rows that tell what kind of content a column has."""

MOST_CLASSES = 50

WORDS_OF_TEXTS = 3
"""Words that a text has at least, on average."""


def choose_columns(
    table: Table, config: DataConfig
) -> tuple[str | tuple[str, str] | None, str | tuple[str, ...] | None, list[Finding]]:
    """Return the columns of texts and labels, None for one that is missing, and what there is to say about it."""
    if config.pair is not None:
        return _choose_pair(table, config.pair, config)
    wanted = config.text if isinstance(config.text, str) else None
    text, about_text = _choose(
        table, wanted, TEXT_NAMES, _looks_like_texts, "text", taken=(*_named_labels(config), config.group)
    )
    label, about_label = _choose_label(table, config, taken=(text, config.group))
    findings = [about_text, *about_label]
    pair = find_pair(table, config)
    if pair is not None and config.text is None:
        message = f"columns {pair[0]!r} and {pair[1]!r} may be pairs; data.text = {[*pair]} reads them so"
        findings.insert(1, Finding("pair columns", message, "note", table.name))
    if config.group is not None and config.group in (text, label, *_named_labels(config), config.split):
        message = (
            f"data.group must be another column than those of texts, labels and splits, got {config.group!r}; name "
            "another, or leave it out"
        )
        findings.append(Finding("one column twice", message, "error", table.name))
    if text is not None and config.task == "several_labels" and text in _named_labels(config):
        message = f"data.text and data.label must be different columns, got {text!r} for both; change one"
        findings.append(Finding("one column twice", message, "error", table.name))
    if text is None or label is None or isinstance(label, tuple) or config.task == "several_labels":
        return text, label, findings
    texts, labels = (_present(table.columns[column][:LOOKED_AT]) for column in (text, label))
    if text == label:
        message = f"data.text and data.label must be two columns, got {text!r} for both; change one"
        findings.append(Finding("one column twice", message, "error", table.name))
    elif _looks_like_texts(labels) and _looks_like_labels(texts):
        message = (
            f"column {label!r} holds texts and column {text!r} labels; swap them with data.text = {label!r} and "
            f"data.label = {text!r}"
        )
        findings.append(Finding("swapped columns", message, "error", table.name))
    elif _looks_like_texts(labels):
        message = f"column {label!r} seems to hold texts rather than labels; name another with data.label"
        findings.append(Finding("texts for labels", message, "warning", table.name))
    if table.header is not None and label in table.columns[label] and not _names_columns(table, config):
        message = (
            f"the first line was taken for the names of the columns, {_listed(table.columns)}, though {label!r} is also "
            "a label; put a line such as text,label on top if it is a row"
        )
        findings.append(Finding("no header", message, "warning", table.name, (table.header,)))
    return text, label, findings


def find_pair(table: Table, config: DataConfig) -> tuple[str, str] | None:
    """Return two columns that have the usual names of a pair and hold texts; None if there are none."""
    pair = named_pair(
        column
        for column in table.columns
        if column not in (*_named_labels(config), config.split, config.group)
    )
    if pair is None or not all(_holds_words(table.columns[column][:LOOKED_AT]) for column in pair):
        return None
    return pair


def _choose_pair(
    table: Table, pair: tuple[str, str], config: DataConfig
) -> tuple[tuple[str, str] | None, str | tuple[str, ...] | None, list[Finding]]:
    label, about_label = _choose_label(table, config, taken=(*pair, config.group))
    missing = [_missing(table, column, what="text") for column in pair if column not in table.columns]
    if missing:
        return None, label, [*missing, *about_label]
    message = f"texts are pairs, of columns {pair[0]!r} and {pair[1]!r}, as named"
    findings = [Finding("columns", message, "note", table.name), *about_label]
    if config.group is not None and config.group in (label, *_named_labels(config), config.split):
        message = (
            f"data.group must be another column than those of labels and splits, got {config.group!r}; name another, or "
            "leave it out"
        )
        findings.append(Finding("one column twice", message, "error", table.name))
    both = [column for column in (label, *_named_labels(config)) if column in pair]
    if both:
        message = f"data.text and data.label must be different columns, got {both[0]!r} for both; change one"
        findings.append(Finding("one column twice", message, "error", table.name))
    return pair, label, findings


def _named_labels(config: DataConfig) -> tuple[str, ...]:
    """Return the columns of labels that were asked for."""
    return (
        config.label if isinstance(config.label, tuple) else () if config.label is None else (config.label,)
    )


def _choose_label(
    table: Table, config: DataConfig, *, taken: tuple[str | None, ...]
) -> tuple[str | tuple[str, ...] | None, list[Finding]]:
    """Return the column of the labels, or all that were asked for, and what there is to say about it."""
    if not isinstance(config.label, tuple):
        usual = SET_NAMES if config.task == "several_labels" else LABEL_NAMES
        label, about = _choose(table, config.label, usual, _looks_like_labels, "label", taken=taken)
        return label, [about]
    missing = [_missing(table, c, what="label") for c in config.label if c not in table.columns]
    if missing:
        return None, missing
    message = f"labels are in the columns {_listed(config.label)}, which hold 0 or 1, as named"
    return config.label, [Finding("columns", message, "note", table.name)]


def with_header(table: Table, config: DataConfig, *, others_have_none: bool = False) -> Table:
    """Return a table, its columns numbered if its first line is a row like the others and names none.

    It is a row if it holds a class and a text of three words or more where others have classes and texts, and no
    name that is usual or asked for.

    Args:
        table: As it was read.
        config: Names of columns that were asked for.
        others_have_none: Another file of the same source has no header: words of texts are enough here.
    """
    if table.header is None or _names_columns(table, config):
        return table
    looked_at = {column: _present(values[:LOOKED_AT]) for column, values in table.columns.items()}
    has_class = any(column in values and _looks_like_labels(values) for column, values in looked_at.items())
    has_text = any(_is_text(column) and _looks_like_texts(values) for column, values in looked_at.items())
    if not (has_text and (has_class or others_have_none)):
        return table
    columns = {f"column {i}": [name, *values] for i, (name, values) in enumerate(table.columns.items(), 1)}
    message = (
        f"the first line looks like a row and was taken for one; columns are called {_listed(columns)}; put a line "
        "such as text,label on top if they have names"
    )
    finding = Finding("no header", message, "mended", table.name, (table.header,))
    return replace(
        table,
        columns=columns,
        lines=[table.header, *table.lines],
        findings=(*table.findings, finding),
        header=None,
    )


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


def suggest_group(table: Table, used: Sequence[str | None]) -> list[Finding]:
    """Say which column seems to name what texts belong to, or that texts begin alike, though nobody asked for groups.

    Args:
        table: To look at.
        used: Columns of texts, labels and splits, the texts' first.
    """
    for column, values in table.columns.items():
        present = _present(values)
        distinct = len({str(value) for value in present})
        words = {word.lower() for word in _WORD_OF_NAME.findall(column)}
        few, often = (FEWEST_GROUPS, 1.2) if words & GROUP_NAMES else (FEWEST_IDS, 1.5)
        named = bool(words & (GROUP_NAMES | ID_NAMES))
        if column not in used and named and distinct >= few and len(present) >= often * distinct:
            message = (
                f"data.group = {json.dumps(column, ensure_ascii=False)} would keep texts with the same value of this column in one "
                f"split ({distinct:,} values in {len(present):,} rows); if they belong together, figures without it are too good"
            )
            return [Finding(GROUP_COLUMN, message, "warning", table.name)]
    starts = Counter(
        tuple(words[:START_WORDS])
        for words in (text.lower().split() for text in {*map(str, _present(table.columns[str(used[0])]))})
        if len(words) > START_WORDS
    )
    alike = sum(count for count in starts.values() if count > 1)
    if alike > SAME_START * len(table.lines):
        message = (
            f"{alike:,} of {len(table.lines):,} texts begin with the same {START_WORDS} words as another; if they are parts of one "
            "document, put its name into a column and name that with data.group"
        )
        return [Finding("texts that begin alike", message, "note", table.name)]
    return []


def _choose(
    table: Table,
    wanted: str | None,
    usual: Sequence[str],
    looks_right: Callable[[list[Any]], bool],
    what: str,
    *,
    taken: Sequence[str | None],
) -> tuple[str | None, Finding]:
    """Return a column, or None, and a note how it was found, or an error why none was."""
    columns = {
        column: values for column, values in table.columns.items() if column not in taken or column == wanted
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
        if table.header is not None and any(map(_is_text, table.columns)):
            message += ", or put a line such as text,label on top if the first is a row"
        return None, Finding(f"no {what} column", message, "error", table.name)
    kind = "guessed columns" if how == "found by its content" else "columns"
    return column, Finding(kind, f"{what}s are in column {column!r}, {how}", "note", table.name)


def _missing(table: Table, column: str, *, what: str | None = None) -> Finding:
    key = f"data.{what} = {column!r}: " if what else ""
    hint = nearest(column, table.columns)
    message = f"{key}no column {column!r}; columns are {_listed(table.columns)}{hint}"
    return Finding("missing column", message, "error", table.name)


def _names_columns(table: Table, config: DataConfig) -> bool:
    """Tell whether the first line has a name that is usual or asked for."""
    wanted = {*(config.pair or (config.text,)), *_named_labels(config), config.split, config.group}
    return any(column in wanted or column.lower() in {*TEXT_NAMES, *LABEL_NAMES} for column in table.columns)


def _is_text(name: str) -> bool:
    return len(name.split()) >= WORDS_OF_TEXTS


def _present(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None and value != ""]


def _looks_like_texts(values: list[Any]) -> bool:
    words = sum(len(v.split()) for v in values if isinstance(v, str))
    return (
        len(values) > 0
        and words >= WORDS_OF_TEXTS * len(values)
        and len(set(map(str, values))) > len(values) / 2
    )


def _holds_words(values: list[Any]) -> bool:
    """Tell whether values are texts of a pair: answers may be of one word, and premises repeat."""
    values = _present(values)
    words = sum(len(v.split()) for v in values if isinstance(v, str))
    return words > len(values) and not _looks_like_labels(values)


def _looks_like_labels(values: list[Any]) -> bool:
    distinct = {str(v) for v in values}
    return 2 <= len(distinct) <= min(MOST_CLASSES, len(values) / 5)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(repr(column) for column in columns)
