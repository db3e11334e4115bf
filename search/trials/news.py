"""What workers tell of their fits: evaluations on the way, and how each fit ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.study import Ending, Reason

if TYPE_CHECKING:
    from trainers.fit import Evaluation


@dataclass(frozen=True)
class Fitted:
    """A fit that came to its end.

    Attributes:
        figures: ``FitResult.figures``, ``memory_bytes``, and ``test_predictions`` if they were asked for.
    """

    figures: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A fit that ended without a result.

    Attributes:
        reason: Why.
        trace: Where a bug was met; empty if the failure is of a known kind.
    """

    reason: Reason
    trace: str = ""

    def raise_bug(self) -> None:
        """Go on after a failure of a known kind, and end the search at a bug.

        Raises:
            RuntimeError: It is a bug.
        """
        if self.trace:
            raise RuntimeError(f"a worker met a bug:\n{self.trace}")


@dataclass(frozen=True)
class Death:
    """A process that ended in the midst of a fit.

    Attributes:
        exit_code: Its own; minus the signal that killed it.
        why: For lack of memory, as far as is known, or empty.
        num_left: Processes from now on: one less if memory was short.
    """

    exit_code: int | None
    why: str = ""
    num_left: int | None = None

    @property
    def reason(self) -> Reason:
        """Of a trial that failed so."""
        return Reason.of_kill(self.why, beside_others=bool(self.num_left))

    @property
    def news(self) -> str | None:
        """What the user should know beside the reason; None if nothing."""
        if self.num_left is None:
            return None
        return (
            f"the system killed a worker {self.why}; {self.num_left} left: to give each fit more room, lower --workers, "
            "fit.batch_size or data.max_length"
        )


@dataclass(frozen=True)
class Silence:
    """A process that was ended since its fit had said nothing for so long."""

    seconds: float

    @property
    def reason(self) -> Reason:
        """Of a trial that failed so."""
        return Reason(Ending.TIMED_OUT, f"{Ending.TIMED_OUT}: no news for {self.seconds:.0f} s")


@dataclass(frozen=True)
class Lost:
    """A worker whose node is gone, which is no fault of the fit's.

    Attributes:
        node: Its name.
    """

    node: str

    @property
    def reason(self) -> Reason:
        """Of a trial that failed so."""
        return Reason(Ending.NODE_LOST, f"{Ending.NODE_LOST}: {self.node}")


Ended = Fitted | Failure | Death | Silence | Lost
"""The last news of a fit."""

if TYPE_CHECKING:
    News = Evaluation | Ended
