"""Which columns of a source hold what: those that the user names, and those that look like pairs or several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from search.new.guesses import guess_columns
from search.terminal import say
from trainers.errors import InputError, describe

if TYPE_CHECKING:
    from trainers.config import DataConfig
    from trainers.data import LabelGuess


@Parameter(name="*")
@dataclass(frozen=True)
class ColumnOptions:
    """Columns that the user names, one or several for each purpose.

    Attributes:
        text: Of the texts; two of pairs.
        label: Of the labels; several of 0 and 1.
        label_separator: Between several labels in one column.
        split: Of each row's split.
        group: Of what texts belong to.
    """

    text: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Column of the texts; give it twice for pairs. [default: found]"),
    ] = None
    label: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Column of the labels; give it several times for columns of 0 and 1, of which a text may have several. "
            "[default: found]",
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        Parameter(help="What stands between several labels in one column; json for lists. [default: found]"),
    ] = None
    split: Annotated[
        str | None, Parameter(help="Column that names each row's split. [default: splits are made]")
    ] = None
    group: Annotated[
        str | None,
        Parameter(help="Column of what texts belong to, kept in one split. [default: each text for itself]"),
    ] = None

    def named(self) -> dict[str, list[str]]:
        """Return what was named, by the key of ``[data]``."""
        named = {
            "text": self.text,
            "label": self.label,
            "label_separator": self.label_separator and [self.label_separator],
            "split": self.split and [self.split],
            "group": self.group and [self.group],
        }
        return {key: names for key, names in named.items() if names}


NO_COLUMNS = ColumnOptions()


@dataclass(frozen=True)
class Columns:
    """What columns hold.

    Attributes:
        names: Of the columns that are to be told, by the key of ``[data]``.
        pair: Two that are read as pairs for their names; None if the user named columns, or none look so.
        several: How columns seem to hold several labels a text; None if they do not.
    """

    names: dict[str, list[str]]
    pair: tuple[str, str] | None
    several: LabelGuess | None

    def say(self) -> None:
        """Say what was found that the user did not name."""
        if self.pair is not None:
            first, second = self.pair
            say(
                f"  columns {first!r} and {second!r} are read as pairs, for their names; --text {first} reads one alone"
            )
        if self.several is not None:
            say(f"  {self.several.message}")


def find_columns(source: str, options: ColumnOptions) -> Columns:
    """Find the columns of a source.

    Raises:
        InputError: The source cannot be read, or has no such columns.
    """
    named = options.named()
    guessed = guess_columns(data_config(source, named))
    found = {key: [names] if isinstance(names, str) else names for key, names in guessed.settings.items()}
    return Columns({**found, **named}, guessed.pair, guessed.labels)


def data_config(source: str, settings: Mapping[str, str | Sequence[str]]) -> DataConfig:
    """Return the settings of a source; a single name of a column stands for itself.

    Raises:
        InputError: They do not go together.
    """
    from pydantic import ValidationError

    from trainers.config import DataConfig

    try:
        named = {
            key: names if isinstance(names, str) else [*names] if len(names) > 1 else names[0]
            for key, names in settings.items()
        }
        return DataConfig.model_validate({"source": source, **named})
    except ValidationError as error:
        raise InputError(describe(error, valid_keys=lambda _: DataConfig.model_fields)) from error
