"""A pool without a worker: the user is told, and after a while the search ends as an interrupted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.trials.pool import NoWorkerLeftError

if TYPE_CHECKING:
    from search.trials.cluster.nodes import Nodes

SAY_SECONDS = 10.0
"""Without a worker, and without room for one, for so long, the user is told."""

STARTING_SECONDS = 120.0
"""Where there is room, a worker may take so long to start on a busy node before that is told."""

WAIT_SECONDS = 1800.0
"""Without a worker for so long, the search ends as an interrupted one does. Autoscalers take minutes."""


@dataclass
class Absence:
    """For how long there has been no worker.

    Attributes:
        nodes: On which one could be.
        tell: Gets lines for the user.
        seconds: So far.
        has_told: Whether the user knows.
    """

    nodes: Nodes
    tell: Callable[[str], None]
    seconds: float = 0.0
    has_told: bool = False

    def end(self) -> None:
        """Take note that there is one."""
        self.seconds, self.has_told = 0.0, False

    def last(self, seconds: float) -> None:
        """Take note that there was none for so long.

        Raises:
            NoWorkerLeftError: That is too long in all.
        """
        self.seconds += seconds
        patience = STARTING_SECONDS if self.nodes.slots else SAY_SECONDS
        if self.seconds >= patience and not self.has_told:
            self.has_told = True
            self.tell(
                f"waiting for a worker, {self.seconds:.0f} s so far: one takes {self._needs()}, and the cluster's nodes have "
                f"room for {self.nodes.slots} if nothing else runs there"
            )
        if self.seconds >= WAIT_SECONDS:
            self.tell(
                f"no worker for {self.seconds:.0f} s: this ends as if interrupted, the same command continues it"
            )
            raise NoWorkerLeftError

    def _needs(self) -> str:
        gpus = f" and {self.nodes.gpus:g} GPUs" if self.nodes.gpus else ""
        return f"{self.nodes.cpus:g} processors{gpus}"
