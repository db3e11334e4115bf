"""Workers on the nodes of a Ray cluster. They know nothing of the study; the pool grows and shrinks with the cluster."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from search.trials.cluster.files import FileServer, files_of
from search.trials.cluster.nodes import Node, Nodes
from search.trials.cluster.worker import Hello, Task, Worker, versions
from search.trials.memory import FOR_MEMORY
from search.trials.news import Death, Ended, Lost, Silence
from search.trials.pool import NoWorkerLeftError
from trainers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from search.study import StudySpec
    from search.trials.cluster.connection import Cluster
    from search.trials.news import News
    from search.trials.pool import OpenPool, Place
    from trainers.config import Device, TrainConfig
    from trainers.fit import Features

LISTEN_SECONDS = 1.0
"""Between two looks at the nodes, and at who has been silent for too long."""

SAY_SECONDS = 10.0
"""Without a worker, and without room for one, for so long, the user is told."""

STARTING_SECONDS = 120.0
"""Where there is room, a worker may take so long to start on a busy node before that is told."""

WAIT_SECONDS = 1800.0
"""Without a worker for so long, the search ends as an interrupted one does. Autoscalers take minutes."""

ERROR_LETTERS = 500

MAX_STILLBORN = 3
"""Workers that end before they are ready one after the other, on nodes that stay: more of them have a bug."""


class _Stage(Enum):
    STARTING = auto()
    PREPARING = auto()
    FREE = auto()
    BUSY = auto()
    ENDING = auto()


@dataclass(eq=False)
class _Member:
    """A worker.

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
    stage: _Stage
    since: float
    node: Node | None = None
    job: int | None = None
    silence: float = 0.0


@dataclass(frozen=True)
class _Fit:
    job: int
    config: TrainConfig
    test: bool
    to_beat: float | None


class RayPool:
    """Actors with one fit each, at most.

    Fits that begin while no actor is free wait for one. A node that is lost takes its fits with it, of which
    each says so; an actor that ends alone has died as a local process does.

    Args:
        features: What fits read. Encoder and texts go to the object store, stored features to each node's cache.
        peeks: As for ``fit``.
        cpus: Processors that a worker takes.
        gpus: GPUs that a worker takes.
        size: Workers at most.
        fixed: Whether so many are asked for even if the cluster has no room for them now: an autoscaler then makes it.
        directory: Of the feature cache; None means each node's own.
        disk_bytes: What that may take.
        tell: Gets lines for the user.
    """

    def __init__(
        self,
        features: Features,
        peeks: Sequence[float],
        *,
        cpus: float,
        gpus: float,
        size: int,
        fixed: bool,
        directory: Path | None,
        disk_bytes: int,
        tell: Callable[[str], None],
    ) -> None:
        import ray

        files = files_of(features)
        device: Device = "cuda" if gpus else "cpu"
        self._task = Task(device, features.precision, files, directory, disk_bytes, tuple(peeks))
        self._payload = ray.put(np.frombuffer(pickle.dumps(features), dtype=np.uint8))
        self._options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self._size, self._fixed = size, fixed
        self._tell = tell
        self.nodes = Nodes(cpus, gpus, ray.nodes)
        self._members: list[_Member] = []
        self._waiting: list[_Fit] = []
        self._patience: dict[int, float | None] = {}
        self._places: dict[int, Place] = {}
        self._forgotten: set[int] = set()
        self._server: Any = None
        self._num_stillborn = 0
        self._absent = 0.0
        self._has_told = False

    def __enter__(self) -> Self:
        """Start as many workers as there is room for."""
        self._look_around()
        self._staff()
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they do."""
        for member in self._members:
            self._count(member)
            self._kill(member.actor)
        if self._server is not None:
            self._kill(self._server)
        self._members = []

    @property
    def has_room(self) -> bool:
        """Whether a fit may begin: a worker is free, or no fit is under way, so that one may wait for a worker."""
        is_idle = not self._waiting and all(m.job is None for m in self._members)
        return is_idle or len(self._free()) > len(self._waiting)

    def begin(
        self, job: int, config: TrainConfig, *, test: bool = False, to_beat: float | None = None
    ) -> None:
        """Give a free worker a fit, or the first one that will be; see ``Pool``."""
        self._patience[job] = None
        self._places.pop(job, None)
        self._forgotten.discard(job)
        self._waiting.append(_Fit(job, config, test, to_beat))
        self._hand_out()

    def end_if_silent(self, job: int, *, seconds: float | None) -> None:
        """End a fit once it has said nothing for so long; None lets it be silent for ever. To wait is no silence."""
        self._patience[job] = seconds

    def answer(self, job: int, *, go_on: bool) -> None:
        """Tell a worker that reported an evaluation whether the fit goes on; if not, it is soon free again."""
        member = next((m for m in self._members if m.job == job), None)
        if member is None:  # its node was lost since, which is the next news of it
            if not go_on:
                self._forgotten.add(job)
            return
        if go_on:
            member.call = member.actor.go_on.remote()
        else:
            member.call = member.actor.stop.remote()
            member.job = None
            self._enter(member, _Stage.ENDING)

    def news(self) -> Iterator[tuple[int, News]]:
        """Wait for news of fits, by job, or until there is room for another; see ``Pool``."""
        while True:
            had_room = self.has_room
            found = self._look_around()
            self._staff()
            self._hand_out()
            found += self._listen()
            self._hand_out()
            for job, said in found:
                if job not in self._forgotten:
                    yield job, said
            if found or (self.has_room and not had_room):
                return

    def place(self, job: int) -> Place | None:
        """Return where a fit runs or ran; None as long as it waits for a worker."""
        return self._places.get(job)

    def _free(self) -> list[_Member]:
        return [m for m in self._members if m.stage is _Stage.FREE]

    def _look_around(self) -> list[tuple[int, News]]:
        """Take note of nodes that came and went, and return what became of fits there."""
        return [news for node in self.nodes.update() for news in self._lose(node)]

    def _staff(self) -> None:
        """Start workers, as far as there is room and use for them."""
        import ray
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        wanted = self._size if self._fixed else min(self._size, max(1, self.nodes.slots))
        unusable = self.nodes.unusable
        while len(self._members) < wanted:
            options: dict[str, Any] = dict(self._options)
            if (
                unusable
            ):  # Ray takes a lost node for alive for some seconds, and what waits there dies with it
                options["scheduling_strategy"] = NodeLabelSchedulingStrategy(
                    {"ray.io/node-id": NotIn(*unusable)}
                )
            actor: Any = ray.remote(Worker).options(**options).remote(self._task)
            self._members.append(_Member(actor, actor.hello.remote(), _Stage.STARTING, time.monotonic()))

    def _hand_out(self) -> None:
        """Give fits that wait to workers that are free."""
        for member in self._free():
            if not self._waiting:
                return
            fit = self._waiting.pop(0)
            assert member.node is not None  # noqa: S101
            self._enter(member, _Stage.BUSY)
            member.job, member.silence = fit.job, 0.0
            member.node.fits += 1
            if member.node.place is not None:
                self._places[fit.job] = member.node.place
            member.call = member.actor.begin.remote(fit.config, test=fit.test, to_beat=fit.to_beat)

    def _listen(self) -> list[tuple[int, News]]:
        """Wait for answers of workers, and return the news among them."""
        import ray

        calls = {m.call: m for m in self._members if m.call is not None}
        left = [
            seconds - m.silence
            for m in self._members
            if m.job is not None and (seconds := self._patience[m.job]) is not None
        ]
        seconds = max(0.0, min([LISTEN_SECONDS, *left]))
        began = time.monotonic()
        if calls:
            ready, _ = ray.wait(list(calls), timeout=seconds)
            if ready:
                ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        else:
            ready = []
            time.sleep(seconds)
        # A machine that stood still meanwhile has heard nothing, as in local pools.
        heard = min(time.monotonic() - began, seconds)
        found: list[tuple[int, News]] = []
        for call in ready:
            if calls[call] in self._members:  # not if it was lost with another one
                found += self._answered(calls[call])
        for member in [m for m in self._members if m.job is not None and m.call not in ready]:
            member.silence += heard
            assert member.job is not None  # noqa: S101
            limit = self._patience[member.job]
            if limit is not None and member.silence >= limit:
                found.append((member.job, Silence(member.silence)))
                self._drop(member)
        self._mind_absence(heard)
        return found

    def _answered(self, member: _Member) -> list[tuple[int, News]]:
        """Take a worker's answer; returns the news in it, if any."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        call, member.call = member.call, None
        try:
            said = ray.get(call)
        except RayTaskError as error:
            raise RuntimeError(f"a worker met a bug:\n{error}") from error
        except RayError as error:
            return self._bury(member, error)
        match member.stage:
            case _Stage.STARTING:
                self._welcome(member, said)
            case _Stage.PREPARING:
                self._prepared(member, said)
            case _Stage.ENDING:
                self._enter(member, _Stage.FREE)
            case _Stage.BUSY:
                job, member.silence = member.job, 0.0
                assert job is not None  # noqa: S101
                if isinstance(said, Ended):
                    member.job = None
                    self._enter(member, _Stage.FREE)
                return [(job, said)]
        return []

    def _welcome(self, member: _Member, hello: Hello) -> None:
        """Let a worker prepare, if its node can fit."""
        if hello.node_id not in self.nodes.known:
            self.nodes.update(at_once=True)
        node = member.node = self.nodes[hello.node_id]
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
        if not hello.has_files and self._server is None:
            self._server = self._serve_files()
        member.call = member.actor.prepare.remote(self._payload, None if hello.has_files else self._server)
        self._enter(member, _Stage.PREPARING)

    def _prepared(self, member: _Member, why_not: str) -> None:
        assert member.node is not None  # noqa: S101
        if why_not:
            self._refuse(member.node, why_not)
            return
        self._num_stillborn = 0
        self._enter(member, _Stage.FREE)
        node, place = member.node, member.node.place
        if (
            place is not None
            and sum(m.node is node for m in self._members if m.stage is not _Stage.PREPARING) == 1
        ):
            device = place.processor if place.device == "cpu" else place.device
            self._tell(f"node {node.name} fits: {device}, room for {node.slots} at once")

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
        for member in [m for m in self._members if m.node is node and m.job is None]:
            self._drop(member)
        others = [n for n in self.nodes if n.is_usable and n.slots]
        if not others and not self._fixed:
            raise InputError(f"no node of the cluster can fit: {node.name}: {why}")

    def _bury(self, member: _Member, error: Exception) -> list[tuple[int, News]]:
        """Take leave of a worker that ended, and return what that means for its fit."""
        node, job = member.node, member.job
        if node is not None and self._is_gone(node, error):
            return self._lose(node)
        self._drop(member)
        text = " ".join(str(error).split())
        if getattr(error, "actor_init_failed", False) or "runtime_env" in text.lower():
            raise InputError(
                f"a worker of the cluster cannot start: {text[-ERROR_LETTERS:]}; install the same packages on all nodes"
            )
        if node is not None and member.stage in {_Stage.STARTING, _Stage.PREPARING}:
            self._num_stillborn += 1
        if self._num_stillborn > MAX_STILLBORN:
            raise RuntimeError(f"{self._num_stillborn} workers ended before they were ready: {text}")
        if job is None:
            return []
        return [(job, Death(None, FOR_MEMORY if "memory" in text.lower() else ""))]

    def _is_gone(self, node: Node, error: Exception) -> bool:
        if getattr(error, "preempted", False):
            node.is_lost = True
        return self.nodes.is_lost(node)

    def _lose(self, node: Node) -> list[tuple[int, News]]:
        """Take leave of all workers of a node that is gone, and return which fits went with them."""
        self._tell(f"node {node.name} is lost; what it fitted begins again elsewhere")
        gone = [m for m in self._members if m.node is node]
        for member in gone:
            self._drop(member)
        return [(m.job, Lost(node.name)) for m in gone if m.job is not None]

    def _mind_absence(self, seconds: float) -> None:
        """Tell the user that there is no worker, and give up after a while."""
        if any(m.stage not in {_Stage.STARTING} for m in self._members):
            self._absent, self._has_told = 0.0, False
            return
        self._absent += seconds
        patience = STARTING_SECONDS if self.nodes.slots else SAY_SECONDS
        if self._absent >= patience and not self._has_told:
            self._has_told = True
            self._tell(
                f"waiting for a worker, {self._absent:.0f} s so far: one takes {self._needs()}, and the cluster's nodes have "
                f"room for {self.nodes.slots} if nothing else runs there"
            )
        if self._absent >= WAIT_SECONDS:
            self._tell(
                f"no worker for {self._absent:.0f} s: this ends as if interrupted, the same command continues it"
            )
            raise NoWorkerLeftError

    def _needs(self) -> str:
        gpus = f" and {self.nodes.gpus:g} GPUs" if self.nodes.gpus else ""
        return f"{self.nodes.cpus:g} processors{gpus}"

    def _enter(self, member: _Member, stage: _Stage) -> None:
        self._count(member)
        member.stage, member.since = stage, time.monotonic()

    def _count(self, member: _Member) -> None:
        """Put down what a worker's time since its last change was spent on."""
        if member.node is None:
            return
        seconds = time.monotonic() - member.since
        if member.stage is _Stage.BUSY:
            member.node.fit_seconds += seconds
        elif member.stage is _Stage.FREE:
            member.node.waiting_seconds += seconds

    def _drop(self, member: _Member) -> None:
        self._count(member)
        self._members.remove(member)
        self._kill(member.actor)

    def _kill(self, actor: Any) -> None:
        import ray

        with contextlib.suppress(Exception):  # it is gone, or its cluster is
            ray.kill(actor, no_restart=True)


def pools(
    cluster: Cluster,
    spec: StudySpec,
    *,
    workers: Literal["auto"] | int,
    most: int,
    tell: Callable[[str], None],
) -> OpenPool:
    """Return what opens a pool of a study's fits.

    Args:
        cluster: Whose nodes fit.
        spec: Of the study.
        workers: That the user wants; ``auto`` is as many as the cluster has room for.
        most: More would have nothing to do, or teach the sampler too little.
        tell: Gets lines for the user.
    """

    def open_pool(features: Features, peeks: Sequence[float]) -> RayPool:
        return RayPool(
            features,
            peeks,
            cpus=cluster.cpus or float(spec.any_config().threads),
            gpus=cluster.gpus,
            size=most if workers == "auto" else min(workers, most),
            fixed=workers != "auto",
            directory=spec.cache.directory,
            disk_bytes=int(spec.cache.disk_gib * 2**30),
            tell=tell,
        )

    return open_pool
