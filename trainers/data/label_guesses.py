"""Whether a source seems to have several labels a text, though nobody said so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainers.config import PACKAGED_SOURCES, DataConfig
from trainers.data.columns import LABEL_NAMES, LOOKED_AT, MOST_CLASSES, SET_NAMES
from trainers.data.fetching import read_tables
from trainers.data.label_sets import JSON, is_truth
from trainers.data.tables import Table

SEPARATORS = (";", "|", ",")

SEVERAL = 0.02
"""Share of the texts that have two labels or more, from which a column seems to hold several."""


@dataclass(frozen=True)
class LabelGuess:
    """Several labels a text, as a source seems to have them.

    Attributes:
        label: Columns of 0 and 1, or the one of all labels.
        separator: Between labels in that one; None for columns of 0 and 1.
        message: Why, and how it may be meant otherwise.
        sure: Whether there is hardly another way to read it; else it is told, and one label a text is read.
    """

    label: tuple[str, ...]
    separator: str | None
    message: str
    sure: bool = True


def suggest_labels(config: DataConfig) -> LabelGuess | None:
    """Return how a source seems to have several labels a text; None if it does not, or it is said already.

    Raises:
        InputError: The source cannot be read.
    """
    if config.source in PACKAGED_SOURCES or config.task == "several_labels" or config.pair is not None:
        return None
    table = read_tables(config.model_copy(update={"label_separator": JSON}))[0][1]
    plain = {column.strip().lower(): column for column in reversed(table.columns)}
    named = [plain[name] for name in (*LABEL_NAMES, *SET_NAMES) if name in plain]
    candidates = [config.label] if isinstance(config.label, str) else list(dict.fromkeys(named))
    for column in candidates:
        guess = _in_one_column(column, table) if column in table.columns else None
        if guess is not None:
            return guess
    if config.label is not None:
        return None
    taken = {config.text, config.split, config.group}
    truths = [
        c for c, values in table.columns.items() if c not in taken and _holds_truths(values[:LOOKED_AT])
    ]
    if len(truths) < 2:
        return None
    shown = ", ".join(map(repr, truths))
    if any(name in plain and plain[name] not in truths for name in LABEL_NAMES):
        listed = json.dumps(truths, ensure_ascii=False)
        message = f"columns {shown} hold 0 and 1; if they are labels, label = {listed} reads them so"
        return LabelGuess(tuple(truths), None, message, sure=False)
    message = (
        f"columns {shown} hold 0 and 1, and are read as labels of which a text may have several; take out those that are none, "
        f"or name one alone for one label a text"
    )
    return LabelGuess(tuple(truths), None, message)


def _in_one_column(column: str, table: Table) -> LabelGuess | None:
    values = [value for value in table.columns[column][:LOOKED_AT] if value not in (None, "")]
    if not values:
        return None
    otherwise = "; leave label_separator out if each is the name of one class"
    if all(_is_list(value) for value in values):
        message = f"column {column!r} holds lists, read as labels of which a text may have several"
        return LabelGuess((column,), JSON, message)
    if not all(isinstance(value, str) for value in values):
        return None
    for separator in SEPARATORS:
        if _recombine([value.split(separator) for value in values]):
            message = f"column {column!r} holds labels with {separator!r} between them, of which a text may have several{otherwise}"
            return LabelGuess((column,), separator, message)
    return None


def _recombine(parts: Sequence[Sequence[str]]) -> bool:
    """Tell whether parts of labels occur in other combinations, too, as several labels do and the words of one do not."""
    sets = Counter(tuple(sorted({part.strip() for part in row} - {""})) for row in parts)
    several = {names: count for names, count in sets.items() if len(names) > 1}
    names = {name for found in sets for name in found}
    if sum(several.values()) < SEVERAL * len(parts) or len(names) > min(MOST_CLASSES, len(parts) / 5):
        return False
    within = Counter(name for found in sets for name in found)
    split = {name for found in several for name in found}
    return 2 * sum(within[name] > 1 for name in split) > len(split)


def _is_list(value: Any) -> bool:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    return isinstance(value, list)


def _holds_truths(values: Sequence[Any]) -> bool:
    """Tell whether a column holds both truth values, and nothing else."""
    found = {is_truth(value) for value in values}
    return found == {True, False}
