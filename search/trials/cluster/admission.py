"""How an actor that has started becomes a worker: its node is looked at, and it gets what fits read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from search.trials.cluster.actors import Actors, Member, Stage, end
from search.trials.cluster.files import FileServer
from search.trials.cluster.worker import Hello, Prepared, Task, versions
from trainers.errors import InputError

if TYPE_CHECKING:
    from search.trials.cluster.nodes import Node

MAX_STILLBORN = 3
"""Workers that end before they are ready one after the other, on nodes that stay: more of them have a bug."""


class Admission:
    """What decides who may fit.

    Args:
        actors: Who wants to.
        task: What they are for.
        payload: The pickled features, in the object store.
        tell: Gets lines for the user.
    """

    def __init__(self, actors: Actors, task: Task, payload: Any, *, tell: Callable[[str], None]) -> None:
        self._actors = actors
        self._task = task
        self._payload = payload
        self._tell = tell
        self._server: Any = None
        self._num_stillborn = 0

    def welcome(self, member: Member, hello: Hello) -> None:
        """Let an actor prepare, if its node can fit.

        Raises:
            InputError: It cannot, and there is no other.
        """
        nodes = self._actors.nodes
        if hello.node_id not in nodes.known:
            nodes.update(at_once=True)
        node = member.node = nodes[hello.node_id]
        ours = versions()
        differing = [name for name in ours if hello.versions[name] != ours[name]]
        if hello.why_not or differing:
            self._refuse(
                node,
                hello.why_not
                or ", ".join(f"it has {n} {hello.versions[n]}, the search {ours[n]}" for n in differing)
                + "; install the same on all nodes",
            )
            return
        if node.place is None:
            node.place = replace(hello.place, node=node.name)
        member.call = member.actor.prepare.remote(self._task, self._payload)
        self._actors.enter(member, Stage.PREPARING)

    def prepared(self, member: Member, became: Prepared) -> None:
        """Let an actor fit that has prepared, unless it could not; who lacks files gets somebody to read them from.

        Raises:
            InputError: It could not, and there is no other node.
        """
        node = member.node
        assert node is not None  # noqa: S101
        if became.why_not:
            self._refuse(node, became.why_not)
            return
        if became.lacks_files:
            if self._server is None:
                self._server = self._serve_files()
            member.call = member.actor.prepare.remote(self._task, self._payload, self._server)
            return
        self._num_stillborn = 0
        self._actors.enter(member, Stage.FREE)
        is_first = sum(m.node is node and m.stage is not Stage.PREPARING for m in self._actors) == 1
        if node.place is not None and is_first:
            self._tell(f"node {node.name} fits: {node.place.computes_on}, room for {node.slots} at once")

    def died(self, member: Member, why: str) -> None:
        """Take note of an actor that ended on a node that stays.

        Raises:
            RuntimeError: Several did so before they were ready.
        """
        if member.node is not None and member.stage in {Stage.STARTING, Stage.PREPARING}:
            self._num_stillborn += 1
        if self._num_stillborn > MAX_STILLBORN:
            raise RuntimeError(f"{self._num_stillborn} workers ended before they were ready: {why}")

    def end(self) -> None:
        """Serve files no more."""
        if self._server is not None:
            end(self._server)

    def _serve_files(self) -> Any:
        """Start what reads the stored features here, on the node of this process."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 3, "scheduling_strategy": here}
        return ray.remote(FileServer).options(**options).remote([file.path for file in self._task.files])

    def _refuse(self, node: Node, why: str) -> None:
        """Use a node no more that cannot fit; if there is no other, that is the user's to mend."""
        if not node.refused:
            node.refused = why
            self._tell(f"node {node.name} is not used: {why}")
        for member in self._actors:
            if member.node is node and member.job is None:
                self._actors.drop(member)
        others = [n for n in self._actors.nodes if n.is_usable and n.slots]
        if not others and not self._actors.fixed:
            raise InputError(f"no node of the cluster can fit: {node.name}: {why}")
