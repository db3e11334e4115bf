"""The nodes of a cluster: which are there, how many workers each has room for, and what they did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.trials.cluster.ports import answers

if TYPE_CHECKING:
    from search.trials.pool import Place

LOOK_SECONDS = 1.0
"""Nodes that join make no event."""

PROBE_SECONDS = 2.0
"""A raylet that does not answer for so long is gone: Ray itself notices some ten seconds later."""

EPSILON = 1e-6


@dataclass
class Node:
    """One node.

    Attributes:
        node_id: Ray's.
        name: Of the machine; with the start of the ID where two nodes share one.
        address: Of its raylet.
        slots: Workers that it has room for when nothing else runs there.
        is_lost: Whether it was seen to be gone.
        refused: Why it cannot fit, or empty.
        place: Where its workers are; None until one has said so.
        fits: Begun there, whatever became of them.
        fit_seconds: Of all its workers, in fits.
        waiting_seconds: Of all its workers, ready for a fit, or for the answer to an evaluation.
    """

    node_id: str
    name: str
    address: tuple[str, int]
    slots: int
    is_lost: bool = False
    refused: str = ""
    place: Place | None = None
    fits: int = 0
    fit_seconds: float = 0.0
    waiting_seconds: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether workers may start here."""
        return not self.is_lost and not self.refused


@dataclass
class Nodes:
    """All nodes that were ever seen.

    Attributes:
        cpus: Processors that a worker takes.
        gpus: GPUs that a worker takes.
        look: Returns what ``ray.nodes()`` does.
    """

    cpus: float
    gpus: float
    look: Callable[[], list[dict[str, Any]]]
    known: dict[str, Node] = field(default_factory=dict)
    _looked: float = float("-inf")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.known.values())

    def __getitem__(self, node_id: str) -> Node:
        return self.known[node_id]

    @property
    def slots(self) -> int:
        """Workers that all usable nodes have room for."""
        return sum(node.slots for node in self if node.is_usable)

    @property
    def unusable(self) -> list[str]:
        """IDs of nodes that must not get a worker, though Ray may hold them for alive."""
        return [node.node_id for node in self if not node.is_usable]

    def update(self, *, at_once: bool = False) -> list[Node]:
        """Look at the cluster, if the last look is some time ago; returns nodes that went."""
        now = time.monotonic()
        if not at_once and now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        lost = []
        for row in self.look():
            node = self.known.get(row["NodeID"])
            if node is None and row["Alive"]:
                node = self._node(row)
                self.known[node.node_id] = node
            elif node is not None and not row["Alive"] and not node.is_lost:
                node.is_lost = True
                lost.append(node)
        return lost

    def is_lost(self, node: Node) -> bool:
        """Find out whether a node is gone on which a worker has just ended."""
        if not node.is_lost:
            alive = {row["NodeID"] for row in self.look() if row["Alive"]}
            host, port = node.address
            node.is_lost = node.node_id not in alive or not answers(host, port, seconds=PROBE_SECONDS)
        return node.is_lost

    def _node(self, row: dict[str, Any]) -> Node:
        name, node_id = str(row["NodeManagerHostname"]), str(row["NodeID"])
        if any(node.name.partition(" ")[0] == name for node in self):
            name = f"{name} ({node_id[:6]})"
        resources = row.get("Resources", {})
        slots = [int(resources.get("CPU", 0) / self.cpus + EPSILON)]
        if self.gpus:
            slots.append(int(resources.get("GPU", 0) / self.gpus + EPSILON))
        return Node(node_id, name, (row["NodeManagerAddress"], row["NodeManagerPort"]), min(slots))
