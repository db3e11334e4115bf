"""How this process joins a Ray cluster and leaves it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.trials.cluster.ports import answers
from search.trials.cluster.ray_private import quiet, running_address
from search.trials.pool import most_workers
from trainers.errors import InputError

if TYPE_CHECKING:
    from search.study import StudySpec
    from search.trials.cluster.actors import Actors
    from search.trials.cluster.options import ClusterOptions
    from trainers.config import Device

CONNECT_SECONDS = 5.0
"""A cluster that does not answer for so long is not there: Ray itself would try for minutes, deaf to signals."""


@dataclass
class Cluster:
    """A cluster that this process has joined.

    Attributes:
        cpus: Processors that a worker takes; None means the study's threads.
        gpus: GPUs that a worker takes.
        actors: The workers, once they have been hired.
    """

    cpus: float | None
    gpus: float
    actors: Actors | None = None

    def hire(
        self,
        spec: StudySpec,
        *,
        workers: Literal["auto"] | int,
        fits_left: int,
        num_trials: int | None = None,
    ) -> None:
        """Start workers on all nodes that have room, which import what fits need while this process prepares what they read.

        Args:
            spec: Of the study.
            workers: That the user wants; ``auto`` is as many as the cluster has room for, and let the sampler learn.
            fits_left: More would have nothing to do.
            num_trials: Of the whole study, which a sampler proposes; None if none does.
        """
        from search.trials.cluster.actors import Actors

        self.actors = Actors(
            cpus=self.cpus or float(spec.any_config().threads),
            gpus=self.gpus,
            size=most_workers(trials_left=fits_left, num_trials=num_trials)
            if workers == "auto"
            else min(workers, fits_left),
            fixed=workers != "auto",
        )
        self.actors.nodes.update()
        self.actors.start()

    @property
    def device(self) -> Device:
        """Where fits compute."""
        return "cuda" if self.gpus else "cpu"

    def own_device(self) -> Device:
        """Return where this process prepares what fits read: it may have no GPU though they do."""
        from trainers.fit import choose_device

        return choose_device("auto" if self.gpus else "cpu")


@contextmanager
def joined(options: ClusterOptions) -> Iterator[Cluster | None]:
    """Be a driver of the cluster that was asked for, if one was; the code of this process travels to its nodes.

    Raises:
        InputError: Ray is not installed, the cluster is not there, or it is one of another Ray or Python.
    """
    if options.cluster is None:
        yield None
        return
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError(
            "--cluster needs Ray, which is not installed: pip install 'frostline[ray]'"
        ) from error
    if ray.is_initialized():
        raise InputError(
            "--cluster must find a process that has not joined a cluster yet, and this one has; call ray.shutdown() before"
        )
    address = find_address(options.cluster)
    before = signal.getsignal(signal.SIGTERM)
    with quiet():
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"py_modules": code(), "excludes": ["**/__pycache__"]},
            )
        except (RuntimeError, ConnectionError, ValueError) as error:
            raise InputError(
                f"--cluster {options.cluster} cannot be joined: {_one_line(error)}; use the Ray and the Python that the "
                "cluster was started with, on a machine that is one of its nodes"
            ) from error
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray sets its own, which would end the search in disorder
        try:
            gpus = options.gpus_per_trial
            if gpus is None:
                gpus = float("GPU" in ray.cluster_resources())
            yield Cluster(options.cpus_per_trial, gpus)
        finally:
            ray.shutdown()


def find_address(cluster: str) -> str:
    """Return the address of a cluster that answers.

    Args:
        cluster: ``auto``, or its address.

    Raises:
        InputError: None answers there, or it is an address for clients.
    """
    named = os.environ.get("RAY_ADDRESS") if cluster == "auto" else None
    origin = f"RAY_ADDRESS={named}" if named else f"--cluster {cluster}"
    address = named or cluster
    if "://" in address:
        raise InputError(
            f"{origin} is an address for Ray's client, which a search cannot use: its driver must run inside the cluster; "
            "use: ray job submit --address http://HOST:8265 -- python -m search.run --cluster auto ..."
        )
    if address == "auto":
        try:
            address = running_address()
        except (ConnectionError, ValueError) as error:
            raise InputError(
                "--cluster auto finds no Ray cluster that runs on this machine; start one (ray start --head), or give its "
                "HOST:PORT or RAY_ADDRESS"
            ) from error
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError(
            f"{origin} must be auto or HOST:PORT; Ray's port is 6379 unless it was given another"
        )
    if not answers(host.strip("[]"), int(port), seconds=CONNECT_SECONDS):
        raise InputError(
            f"{origin}: no Ray cluster answers at {address}; check it with: ray status --address {address}"
        )
    return address


def code() -> list[str]:
    """Return the folders of this project's packages, which travel to the nodes."""
    import search
    import trainers

    return [str(Path(package.__path__[0]).resolve()) for package in (search, trainers)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
