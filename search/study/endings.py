"""Why a trial ended: a kind, by which the search decides, and a text beside it for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from search.study import attributes as attr

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Ending(StrEnum):
    """Kinds of ends. Databases hold these values."""

    EPOCHS = "epochs"
    PATIENCE = "patience"
    CEILING = "ceiling"
    RUNG = "rung"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    KILLED = "killed"
    KILLED_BESIDE_OTHERS = "killed beside other fits"
    INTERRUPTED = "interrupted"
    NODE_LOST = "node lost"
    BUG = "bug"
    OTHER = "other"


BESIDE = ", beside other fits"
"""Ends the text of what was killed for lack of memory while others took some, too."""


@dataclass(frozen=True)
class Reason:
    """Why a trial ended.

    Attributes:
        ending: Its kind.
        text: In words.
    """

    ending: Ending
    text: str

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Tell the kind from the text: of trials that earlier versions ran, and of errors of fits, which have words alone."""
        head = text.partition(":")[0]
        if head.startswith(Ending.KILLED):
            return cls(Ending.KILLED_BESIDE_OTHERS if text.endswith(BESIDE) else Ending.KILLED, text)
        if head.startswith("rung "):
            return cls(Ending.RUNG, text)
        return cls(_ending(head), text)

    @classmethod
    def of_bug(cls, error: Exception) -> Self:
        """Say that an error has no name, so that it is a bug."""
        return cls(Ending.BUG, f"{Ending.BUG}: {type(error).__name__}: {error}")

    @classmethod
    def of_kill(cls, why: str = "", *, beside_others: bool = False) -> Self:
        """Say that a process was killed.

        Args:
            why: For lack of memory, as far as is known, or empty.
            beside_others: Whether other fits took some of that memory.
        """
        if beside_others:
            return cls(Ending.KILLED_BESIDE_OTHERS, f"{Ending.KILLED} {why}{BESIDE}")
        return cls(Ending.KILLED, f"{Ending.KILLED} {why}" if why else str(Ending.KILLED))

    @property
    def heading(self) -> str:
        """What the text shares with those of other trials: "rung 0.5", "diverged"."""
        head = self.text.partition(":")[0]
        return " ".join(head.split()[:2]) if self.ending is Ending.RUNG else head


KILLED = Reason.of_kill()
INTERRUPTED = Reason(Ending.INTERRUPTED, str(Ending.INTERRUPTED))


def reason_of(trial: FrozenTrial) -> Reason | None:
    """Return why a trial ended; None where none was recorded."""
    known = trial.user_attrs
    if attr.REASON not in known:
        return None
    text = str(known[attr.REASON])
    if attr.ENDING in known:
        return Reason(_ending(known[attr.ENDING]), text)
    return Reason.of_text(text)


def as_attributes(reason: Reason) -> dict[str, str]:
    """Return what a trial keeps of the reason why it ended."""
    return {attr.ENDING: str(reason.ending), attr.REASON: reason.text}


def _ending(value: object) -> Ending:
    """Return the kind that a value names; a later version may know more of them."""
    return next((ending for ending in Ending if ending == value), Ending.OTHER)
