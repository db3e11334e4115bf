"""Workers on the nodes of a Ray cluster. They know nothing of the study; the pool grows and shrinks with the cluster."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from search.trials.cluster.absence import Absence
from search.trials.cluster.actors import Member, Stage
from search.trials.cluster.admission import Admission
from search.trials.cluster.files import files_of
from search.trials.cluster.worker import Task
from search.trials.memory import FOR_MEMORY
from search.trials.news import Death, Ended, Lost, Silence
from trainers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from search.study import StudySpec
    from search.trials.cluster.actors import Actors
    from search.trials.cluster.connection import Cluster
    from search.trials.cluster.nodes import Node
    from search.trials.news import News
    from search.trials.pool import OpenPool, Place
    from trainers.config import TrainConfig
    from trainers.fit import Features

LISTEN_SECONDS = 1.0
"""Between two looks at the nodes, and at who has been silent for too long."""

ERROR_LETTERS = 500


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
        actors: Who fits; those that are not there yet are started.
        directory: Of the feature cache; None means each node's own.
        disk_bytes: What that may take.
        tell: Gets lines for the user.
    """

    def __init__(
        self,
        features: Features,
        peeks: Sequence[float],
        *,
        actors: Actors,
        directory: Path | None,
        disk_bytes: int,
        tell: Callable[[str], None],
    ) -> None:
        import ray

        files = files_of(features)
        task = Task(actors.device, features.precision, files, directory, disk_bytes, tuple(peeks))
        payload = ray.put(np.frombuffer(pickle.dumps(features), dtype=np.uint8))
        self._tell = tell
        self.actors = actors
        self._admission = Admission(actors, task, payload, tell=tell)
        self._absence = Absence(actors.nodes, tell)
        self._waiting: list[_Fit] = []
        self._patience: dict[int, float | None] = {}
        self._places: dict[int, Place] = {}
        self._forgotten: set[int] = set()

    def __enter__(self) -> Self:
        """Start as many workers as there is room for."""
        self._look_around()
        self.actors.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they do."""
        self.actors.end()
        self._admission.end()

    @property
    def has_room(self) -> bool:
        """Whether a fit may begin: a worker is free, or no fit is under way, so that one may wait for a worker."""
        is_idle = not self._waiting and all(m.job is None for m in self.actors)
        return is_idle or len(self.actors.free) > len(self._waiting)

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
        member = self.actors.of(job)
        if member is None:  # its node was lost since, which is the next news of it
            if not go_on:
                self._forgotten.add(job)
            return
        if go_on:
            member.call = member.actor.go_on.remote()
        else:
            member.call = member.actor.stop.remote()
            member.job = None
            self.actors.enter(member, Stage.ENDING)

    def news(self) -> Iterator[tuple[int, News]]:
        """Wait for news of fits, by job, or until there is room for another; see ``Pool``."""
        while True:
            had_room = self.has_room
            found = self._look_around()
            self.actors.start()
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

    def node_seconds(self) -> dict[str, dict[str, float]]:
        """Return by node what its workers' time went to, ``fitting`` and ``waiting``, up to their latest change from one to the other."""
        return {
            node.name: {"fitting": node.fit_seconds, "waiting": node.waiting_seconds}
            for node in self.actors.nodes
            if node.fits
        }

    def _look_around(self) -> list[tuple[int, News]]:
        """Take note of nodes that came and went, and return what became of fits there."""
        return [news for node in self.actors.nodes.update() for news in self._lose(node)]

    def _hand_out(self) -> None:
        """Give fits that wait to workers that are free."""
        for member in self.actors.free:
            if not self._waiting:
                return
            fit = self._waiting.pop(0)
            assert member.node is not None  # noqa: S101
            self.actors.enter(member, Stage.BUSY)
            member.job, member.silence = fit.job, 0.0
            member.node.fits += 1
            if member.node.place is not None:
                self._places[fit.job] = member.node.place
            member.call = member.actor.begin.remote(fit.config, test=fit.test, to_beat=fit.to_beat)

    def _listen(self) -> list[tuple[int, News]]:
        """Wait for answers of workers, and return the news among them."""
        import ray

        calls = {m.call: m for m in self.actors if m.call is not None}
        left = [
            seconds - m.silence
            for m in self.actors
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
            if calls[call] in self.actors:  # not if it was lost with another one
                found += self._answered(calls[call])
        for member in [m for m in self.actors if m.job is not None and m.call not in ready]:
            member.silence += heard
            assert member.job is not None  # noqa: S101
            limit = self._patience[member.job]
            if limit is not None and member.silence >= limit:
                found.append((member.job, Silence(member.silence)))
                self.actors.drop(member)
        if any(m.stage is not Stage.STARTING for m in self.actors):
            self._absence.end()
        else:
            self._absence.last(heard)
        return found

    def _answered(self, member: Member) -> list[tuple[int, News]]:
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
            case Stage.STARTING:
                self._admission.welcome(member, said)
            case Stage.PREPARING:
                self._admission.prepared(member, said)
            case Stage.ENDING:
                self.actors.enter(member, Stage.FREE)
            case Stage.BUSY:
                job, member.silence = member.job, 0.0
                assert job is not None  # noqa: S101
                news = self.actors.heard(member, said)
                if isinstance(news, Ended):
                    member.job = None
                    self.actors.enter(member, Stage.FREE)
                return [(job, news)]
        return []

    def _bury(self, member: Member, error: Exception) -> list[tuple[int, News]]:
        """Take leave of a worker that ended, and return what that means for its fit."""
        node, job = member.node, member.job
        if node is not None and self._is_gone(node, error):
            return self._lose(node)
        self.actors.drop(member)
        text = " ".join(str(error).split())
        if getattr(error, "actor_init_failed", False) or "runtime_env" in text.lower():
            raise InputError(
                f"a worker of the cluster cannot start: {text[-ERROR_LETTERS:]}; install the same packages on all nodes"
            )
        self._admission.died(member, text)
        if job is None:
            return []
        return [(job, Death(None, FOR_MEMORY if "memory" in text.lower() else ""))]

    def _is_gone(self, node: Node, error: Exception) -> bool:
        if getattr(error, "preempted", False):
            node.is_lost = True
        return self.actors.nodes.is_lost(node)

    def _lose(self, node: Node) -> list[tuple[int, News]]:
        """Take leave of all workers of a node that is gone, and return which fits went with them."""
        self._tell(f"node {node.name} is lost; what it fitted begins again elsewhere")
        gone = [m for m in self.actors if m.node is node]
        for member in gone:
            self.actors.drop(member)
        return [(m.job, Lost(node.name)) for m in gone if m.job is not None]


def pools(cluster: Cluster, spec: StudySpec, *, most: int, tell: Callable[[str], None]) -> OpenPool:
    """Return what opens a pool of a study's fits.

    Args:
        cluster: Whose nodes fit; its workers have been hired.
        spec: Of the study.
        most: More workers would have nothing to do.
        tell: Gets lines for the user.
    """

    def open_pool(features: Features, peeks: Sequence[float]) -> RayPool:
        assert cluster.actors is not None  # noqa: S101
        cluster.actors.limit(most)
        return RayPool(
            features,
            peeks,
            actors=cluster.actors,
            directory=spec.cache.directory,
            disk_bytes=int(spec.cache.disk_gib * 2**30),
            tell=tell,
        )

    return open_pool
