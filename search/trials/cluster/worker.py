"""What runs on a cluster's nodes: an actor with one fit at most, in a thread, so that each call returns the next news."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from search.study import processor_name
from search.trials.cluster.files import FeatureFile, are_there, fetch
from search.trials.fitting import fit_and_tell
from search.trials.memory import be_killed_first
from search.trials.news import Ended
from search.trials.pool import Place
from search.trials.worker_pool import PRELOADED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from search.trials.news import News, Told
    from trainers.config import Device, FixedPrecision, TrainConfig
    from trainers.fit import Features

LIBRARIES = ("torch", "transformers", "tokenizers")
"""Packages that every node must have in the driver's version: of them a fit's result may depend."""

WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Task:
    """What a worker is for.

    Attributes:
        device: ``cpu``, or ``cuda``: the GPU that Ray lets it see.
        precision: Number format of the fits.
        files: Stored features, as they stand on the driver's disk.
        directory: Of the cache; None means the node's own.
        disk_bytes: What the cache may take.
        peeks: As for ``fit``.
    """

    device: Device
    precision: FixedPrecision
    files: list[FeatureFile]
    directory: Path | None
    disk_bytes: int
    peeks: Sequence[float]

    def root(self) -> Path:
        """Return where features stand on this node."""
        from trainers.fit import default_cache_directory

        return (self.directory or default_cache_directory()) / "features"


@dataclass(frozen=True)
class Hello:
    """What a worker says first.

    Attributes:
        node_id: Ray's name of its node.
        place: Where it is; the node by its host's name.
        versions: Of what fits there.
        why_not: What keeps it from fitting, or empty.
    """

    node_id: str
    place: Place
    versions: dict[str, str]
    why_not: str


@dataclass(frozen=True)
class Prepared:
    """What became of a worker's preparation.

    Attributes:
        why_not: What keeps it from fitting, or empty.
        lacks_files: Whether it needs somebody who reads the driver's disk, and has not prepared.
    """

    why_not: str = ""
    lacks_files: bool = False


@dataclass(frozen=True)
class Said:
    """News of a fit.

    Attributes:
        news: Of it.
        waited: Seconds from its last news until it was told to go on.
    """

    news: News
    waited: float


class Worker:
    """Fits what it is told to."""

    def __init__(self) -> None:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        be_killed_first()
        self._task: Task | None = None
        self._features: Features | None = None
        self._news: SimpleQueue[News | None] = SimpleQueue()
        self._answers: SimpleQueue[bool] = SimpleQueue()
        self._said = 0.0

    def hello(self, device: Device) -> Hello:
        """Say who is here, and load what fits need, while the driver prepares what they read.

        Args:
            device: Where fits shall compute.
        """
        import ray
        import torch

        for name in PRELOADED:
            import_module(name)
        found, why_not = "cpu", ""
        if device != "cpu":
            if torch.cuda.is_available():
                found = torch.cuda.get_device_name(0)
            else:
                why_not = (
                    "its torch finds no CUDA device; install one for its driver, or give --gpus-per-trial 0"
                )
        return Hello(
            ray.get_runtime_context().get_node_id(),
            Place(os.uname().nodename, found, processor_name()),
            versions(),
            why_not,
        )

    def prepare(self, task: Task, payload_B: npt.NDArray[np.uint8], server: Any | None = None) -> Prepared:
        """Take encoder and texts, and copy the stored features that this node lacks.

        Args:
            task: What fits are like.
            payload_B: The pickled features.
            server: Actor that reads files of the driver's disk; None if there is none yet.
        """
        import ray

        from trainers.fit import choose_precision

        def read(path: str, offset: int, count: int) -> bytes:
            assert server is not None  # noqa: S101
            found: bytes = ray.get(server.read.remote(path, offset, count))
            return found

        if choose_precision(task.precision, task.device) != task.precision:
            return Prepared(f"it has no arithmetic for {task.precision}; set fit.precision to float32")
        if server is None and not are_there(task.files, task.root()):
            return Prepared(lacks_files=True)
        try:
            folders = fetch(task.files, task.root(), read=read, disk_bytes=task.disk_bytes)
        except OSError as error:
            return Prepared(f"its feature cache {task.root()} cannot be written: {error.strerror or error}")
        sent: Features = pickle.loads(payload_B.data)  # noqa: S301 - from the driver
        model = sent.encoder.model.to(task.device)  # type: ignore[arg-type]
        self._task = task
        self._features = sent.moved(replace(sent.encoder, model=model, device=task.device), folders)
        return Prepared()

    def begin(self, config: TrainConfig, *, test: bool, to_beat: float | None) -> Said:
        """Begin a fit, and return its first news."""
        self._news, self._answers = SimpleQueue(), SimpleQueue()
        self._said = time.monotonic()
        threading.Thread(target=self._fit, args=(config, test, to_beat), daemon=True).start()
        return self._next()

    def go_on(self) -> Said:
        """Let the fit go on after an evaluation, and return its next news."""
        self._answers.put(True)
        return self._next()

    def stop(self) -> None:
        """End the fit after an evaluation."""
        self._answers.put(False)
        self._news.get()

    def process_id(self) -> int:
        """Return the number of this process on its node."""
        return os.getpid()

    def _next(self) -> Said:
        waited = time.monotonic() - self._said
        news = self._news.get()
        assert news is not None  # noqa: S101
        self._said = time.monotonic()
        return Said(news, waited)

    def _fit(self, config: TrainConfig, test: bool, to_beat: float | None) -> None:
        def ask(told: Told) -> bool:
            self._news.put(told)
            return self._answers.get()

        assert self._features is not None and self._task is not None  # noqa: S101, PT018
        ended: Ended | None = fit_and_tell(
            config, self._features, ask=ask, peeks=self._task.peeks, test=test, to_beat=to_beat
        )
        self._news.put(ended)


def versions() -> dict[str, str]:
    """Return the versions of the packages of which a fit's result may depend."""
    return {name: version(name) for name in LIBRARIES}


def _end_with(parent: int) -> None:
    """End this process with its raylet: what was given up as lost would compute on."""
    while os.getppid() == parent:
        with suppress(InterruptedError):
            time.sleep(WATCH_SECONDS)
    os._exit(1)
