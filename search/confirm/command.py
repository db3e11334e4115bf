"""Finalists fitted again on fresh seeds, each fit tested once: python -m search.confirm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from search.confirm.confirmation import NUM_FINALISTS, NUM_SEEDS, confirm_opened
from search.interrupts import EXIT_INTERRUPTED, interrupted_at, interruptible
from search.storage import StorageOption
from search.trials import HELP, NO_CLUSTER, ClusterOptions, TrialTimeout, check_timeout
from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import Device
from trainers.errors import InputError


def confirm(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    finalists: Annotated[
        int, Parameter(help="Pareto-best setups under the ceiling to fit again, the recipes not counted.")
    ] = NUM_FINALISTS,
    seeds: Annotated[int, Parameter(help="Fresh seeds for each.")] = NUM_SEEDS,
    trial_timeout: Annotated[TrialTimeout, Parameter(help=HELP)] = "auto",
    storage: StorageOption = None,
    workers: Annotated[
        Literal["auto"] | int,
        Parameter(
            help="Fits under way at once; auto is one a core (or one a CUDA device), as far as memory goes."
        ),
    ] = "auto",
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(help="Where to fit: cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."),
    ] = "auto",
    cluster: ClusterOptions = NO_CLUSTER,
) -> int:
    """Fit the finalists of a study on fresh seeds, and test every fit; the same command continues it."""
    refuse_windows()
    from search.report import command_options, make_report
    from search.study import open_named

    check_request(finalists=finalists, seeds=seeds, workers=workers)
    check_timeout(trial_timeout)
    cluster.check(device=device)
    found = open_named(study, storage)
    interrupted = confirm_opened(
        found,
        finalists=finalists,
        seeds=seeds,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        cluster=cluster,
    )
    make_report(found.study, found.spec, found.folder, command_options(study, storage))
    return EXIT_INTERRUPTED if interrupted else 0


def check_request(
    *, finalists: int, seeds: int, workers: Literal["auto"] | int = "auto", mark: str = "--"
) -> None:
    """Refuse numbers that no confirmation can have; ``mark`` stands before the name of each.

    Raises:
        InputError: One is out of range.
    """
    for name, value in (("finalists", finalists), ("seeds", seeds)):
        if value < 1:
            raise InputError(f"{mark}{name} must be at least 1, got {value}; raise it")
    if workers != "auto" and workers < 1:
        raise InputError(f"{mark}workers must be auto or at least 1, got {workers}; raise it")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    with interruptible():
        try:
            code = launch(confirm, name="search.confirm", argv=argv)
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        return code if interrupted_at() is None else EXIT_INTERRUPTED
