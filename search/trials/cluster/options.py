"""Options of commands that fit: on which cluster, and what of it a trial takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from trainers.errors import InputError


@Parameter(name="*")
@dataclass(frozen=True)
class ClusterOptions:
    """Which Ray cluster fits, if any.

    Attributes:
        cluster: ``auto``, or its address; None fits on this machine.
        cpus_per_trial: Processors that a worker takes; None means the study's threads.
        gpus_per_trial: GPUs that a worker takes; None means one where the cluster has any.
    """

    cluster: Annotated[
        str | None,
        Parameter(
            help="Ray cluster whose nodes fit: HOST:PORT, or auto for the one that RAY_ADDRESS names or that runs here. "
            "[default: none, this machine alone]"
        ),
    ] = None
    cpus_per_trial: Annotated[
        float | None,
        Parameter(help="Processors of the cluster that a trial takes. [default: the study's threads]"),
    ] = None
    gpus_per_trial: Annotated[
        float | None,
        Parameter(
            help="GPUs of the cluster that a trial takes; 0.5 shares one. [default: 1 if it has any, else 0]"
        ),
    ] = None

    def check(self, *, device: str = "auto") -> None:
        """Refuse what can be no resources, and a device of this machine.

        Raises:
            InputError: A number is out of range, or there is no cluster to take it from.
        """
        if self.cluster is not None and device != "auto":
            raise InputError(
                f"--device is of this machine, and with --cluster others fit, got {device}; leave it out, and give "
                "--gpus-per-trial"
            )
        cpus, gpus = self.cpus_per_trial, self.gpus_per_trial
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if value is not None and self.cluster is None:
                raise InputError(
                    f"--{name}-per-trial is of a cluster, and there is none; give --cluster, too, or leave it out"
                )
        if cpus is not None and not 0 < cpus < float("inf"):
            raise InputError(f"--cpus-per-trial must be above 0, got {cpus:g}; raise it")
        if gpus is not None and not 0 <= gpus < float("inf"):
            raise InputError(f"--gpus-per-trial must be 0 or more, got {gpus:g}; raise it")
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if value is not None and value > 1 and value != int(value):
                raise InputError(
                    f"--{name}-per-trial above 1 must be a whole number, got {value:g}; round it"
                )


NO_CLUSTER = ClusterOptions()
