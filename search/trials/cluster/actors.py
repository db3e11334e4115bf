"""The actors of a pool, and what each is at: they start on all nodes that have room, and their time is put down by node."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from search.trials.cluster.nodes import Node, Nodes
from search.trials.cluster.worker import Worker

if TYPE_CHECKING:
    from search.trials.cluster.worker import Said
    from search.trials.news import News
    from trainers.config import Device


class Stage(Enum):
    """What an actor is at."""

    STARTING = auto()
    PREPARING = auto()
    FREE = auto()
    BUSY = auto()
    ENDING = auto()


@dataclass(eq=False)
class Member:
    """An actor.

    Attributes:
        actor: Ray's handle.
        call: What it is asked, and has not answered.
        stage: What it is at.
        since: When that began.
        node: Where it is, once it has said so.
        job: Whose fit it has.
        silence: Seconds since the fit's last news.
    """

    actor: Any
    call: Any
    stage: Stage
    since: float
    node: Node | None = None
    job: int | None = None
    silence: float = 0.0


class Actors:
    """All of them.

    They need not know yet what they will fit: what all fits need they import meanwhile.

    Args:
        cpus: Processors that each takes.
        gpus: GPUs that each takes.
        size: How many at most.
        fixed: Whether so many are asked for even if the cluster has no room for them now: an autoscaler then makes it.
    """

    def __init__(self, *, cpus: float, gpus: float, size: int, fixed: bool) -> None:
        import ray

        self.device: Device = "cuda" if gpus else "cpu"
        self._size, self.fixed = size, fixed
        self._options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self.nodes = Nodes(cpus, gpus, ray.nodes)
        self._members: list[Member] = []

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    @property
    def free(self) -> list[Member]:
        """Those without a fit that could have one."""
        return [m for m in self if m.stage is Stage.FREE]

    def of(self, job: int) -> Member | None:
        """Return who has a fit; None if nobody has."""
        return next((m for m in self if m.job == job), None)

    def limit(self, size: int) -> None:
        """Have no more than so many."""
        self._size = min(self._size, size)
        for member in self._members[self._size :]:
            self.drop(member)

    def start(self) -> None:
        """Start as many as there is room and use for."""
        import ray
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        wanted = self._size if self.fixed else min(self._size, max(1, self.nodes.slots))
        unusable = self.nodes.unusable
        while len(self._members) < wanted:
            options: dict[str, Any] = dict(self._options)
            if (
                unusable
            ):  # Ray takes a lost node for alive for some seconds, and what waits there dies with it
                options["scheduling_strategy"] = NodeLabelSchedulingStrategy(
                    {"ray.io/node-id": NotIn(*unusable)}
                )
            actor: Any = ray.remote(Worker).options(**options).remote()
            hello = actor.hello.remote(self.device)
            self._members.append(Member(actor, hello, Stage.STARTING, time.monotonic()))

    def enter(self, member: Member, stage: Stage) -> None:
        """Note what an actor is at from now on."""
        _count(member)
        member.stage, member.since = stage, time.monotonic()

    def heard(self, member: Member, said: Said) -> News:
        """Return news of a fit, and put down for how long it had waited for an answer."""
        if member.node is not None:
            member.node.fit_seconds -= said.waited
            member.node.waiting_seconds += said.waited
        return said.news

    def drop(self, member: Member) -> None:
        """End an actor, whatever it does."""
        _count(member)
        self._members.remove(member)
        end(member.actor)

    def end(self) -> None:
        """End all."""
        for member in self:
            self.drop(member)


def end(actor: Any) -> None:
    """End an actor's process, which may be gone already."""
    import ray

    with contextlib.suppress(Exception):  # its cluster may be gone, too
        ray.kill(actor, no_restart=True)


def _count(member: Member) -> None:
    """Put down what an actor's time since its last change was spent on."""
    if member.node is None:
        return
    seconds = time.monotonic() - member.since
    if member.stage is Stage.BUSY:
        member.node.fit_seconds += seconds
    elif member.stage is Stage.FREE:
        member.node.waiting_seconds += seconds
