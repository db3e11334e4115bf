"""What runs on a cluster's nodes: an actor with one fit at most, in a thread, so that each call returns the next news."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from search.trials.news import News
    from trainers.config import Device, FixedPrecision, TrainConfig
    from trainers.fit import Evaluation, Features

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
        has_files: Whether its node has all stored features.
    """

    node_id: str
    place: Place
    versions: dict[str, str]
    why_not: str
    has_files: bool


class Worker:
    """Fits what it is told to."""

    def __init__(self, task: Task) -> None:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        be_killed_first()
        self._task = task
        self._features: Features | None = None
        self._news: SimpleQueue[News | None] = SimpleQueue()
        self._answers: SimpleQueue[bool] = SimpleQueue()

    def hello(self) -> Hello:
        """Say who is here, and load what fits need."""
        import ray
        import torch

        import trainers.model  # noqa: F401 - while others prepare
        from trainers.fit import choose_precision

        device, why_not = "cpu", ""
        if self._task.device != "cpu":
            if torch.cuda.is_available():
                device = torch.cuda.get_device_name(0)
            else:
                why_not = (
                    "its torch finds no CUDA device; install one for its driver, or give --gpus-per-trial 0"
                )
        if not why_not and choose_precision(self._task.precision, self._task.device) != self._task.precision:
            why_not = f"it has no arithmetic for {self._task.precision}; set fit.precision to float32"
        return Hello(
            ray.get_runtime_context().get_node_id(),
            Place(os.uname().nodename, device, processor_name()),
            versions(),
            why_not,
            has_files=are_there(self._task.files, self._task.root()),
        )

    def prepare(self, payload_B: npt.NDArray[np.uint8], server: Any | None) -> str:
        """Take encoder and texts, and copy the stored features that this node lacks.

        Args:
            payload_B: The pickled features.
            server: Actor that reads files of the driver's disk; None if none are lacking.

        Returns:
            Why that cannot be done here, or an empty string.
        """
        import ray

        def read(path: str, offset: int, count: int) -> bytes:
            assert server is not None  # noqa: S101
            found: bytes = ray.get(server.read.remote(path, offset, count))
            return found

        task = self._task
        try:
            folders = fetch(task.files, task.root(), read=read, disk_bytes=task.disk_bytes)
        except OSError as error:
            return f"its feature cache {task.root()} cannot be written: {error.strerror or error}"
        sent: Features = pickle.loads(payload_B.data)  # noqa: S301 - from the driver
        model = sent.encoder.model.to(task.device)  # type: ignore[arg-type]
        self._features = sent.moved(replace(sent.encoder, model=model, device=task.device), folders)
        return ""

    def begin(self, config: TrainConfig, *, test: bool, to_beat: float | None) -> News:
        """Begin a fit, and return its first news."""
        self._news, self._answers = SimpleQueue(), SimpleQueue()
        threading.Thread(target=self._fit, args=(config, test, to_beat), daemon=True).start()
        return self._next()

    def go_on(self) -> News:
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

    def _next(self) -> News:
        news = self._news.get()
        assert news is not None  # noqa: S101
        return news

    def _fit(self, config: TrainConfig, test: bool, to_beat: float | None) -> None:
        def ask(evaluation: Evaluation) -> bool:
            self._news.put(evaluation)
            return self._answers.get()

        assert self._features is not None  # noqa: S101
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
