"""What a source seems to hold beside one text and one label a row: pairs of texts, several labels a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.config import DataConfig
    from trainers.data import LabelGuess


@dataclass(frozen=True)
class GuessedColumns:
    """What nobody has said of a source.

    Attributes:
        pair: The columns of its pairs; None if it seems to hold none.
        labels: Several labels a text; None likewise.
        settings: Of ``[data]``, that read it so: a list of columns, or one name.
    """

    pair: tuple[str, str] | None
    labels: LabelGuess | None
    settings: dict[str, str | list[str]] = field(default_factory=dict)


def guess_columns(data: DataConfig, *, label: bool = True) -> GuessedColumns:
    """Look at a source.

    Args:
        data: What is said already.
        label: Whether there may be several labels a text.

    Raises:
        InputError: The source cannot be read.
    """
    from trainers.data import suggest_labels, suggest_pair

    pair = suggest_pair(data) if data.text is None else None
    if pair is not None:
        return GuessedColumns(pair, None, {"text": [*pair]})
    several = suggest_labels(data) if label else None
    if several is None or not several.sure:
        return GuessedColumns(None, several)
    if several.separator is None:
        return GuessedColumns(None, several, {"label": [*several.label]})
    [column] = several.label
    return GuessedColumns(None, several, {"label": column, "label_separator": several.separator})
