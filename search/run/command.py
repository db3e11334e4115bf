"""The main job: python -m search.run --trials 50."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from search.interrupts import EXIT_INTERRUPTED, interrupted_at, interruptible
from search.run.searching import search_study
from search.storage import StorageOption
from search.trials import (
    HELP,
    NO_CLUSTER,
    ClusterOptions,
    TrackOption,
    TrialTimeout,
    check_timeout,
    targets_of,
)
from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import Device
from trainers.errors import InputError


def run(
    *,
    trials: Annotated[int, Parameter(help="Total number of finished trials.")] = 50,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    timeout: Annotated[
        float | None, Parameter(help="Start no new trial after this many seconds. [default: none]")
    ] = None,
    until_flat: Annotated[
        float | bool | None,
        Parameter(
            negative=(),
            metavar="[POINTS]",
            help="End before --trials once all trials that are left are together expected to gain fewer points than this, 0.2 if "
            "no number is given. In simulated searches of 50 trials, 0.2, 0.5 and 1 saved 12, 27 and 45 % of the time and lost "
            "about as many points. [default: none]",
        ),
    ] = None,
    trial_timeout: Annotated[TrialTimeout, Parameter(help=HELP)] = "auto",
    seed: Annotated[int | None, Parameter(help="Seed of a new study. [default: the TOML file's]")] = None,
    storage: StorageOption = None,
    recipes: Annotated[
        Literal["study", "all", "none"],
        Parameter(help="Known recipes to run first: the TOML file's, all, or none."),
    ] = "study",
    workers: Annotated[
        Literal["auto"] | int,
        Parameter(
            help="Trials under way at once; auto is one a core (or one a CUDA device), as far as memory goes, and, so that the "
            "sampler learns from their results, one for every 5 trials at most."
        ),
    ] = "auto",
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(help="Where to fit: cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."),
    ] = "auto",
    confirm: Annotated[
        int, Parameter(help="Number of finalists to fit on fresh seeds and test afterwards; 0 is none.")
    ] = 0,
    cluster: ClusterOptions = NO_CLUSTER,
    track: TrackOption = None,
) -> int:
    """Search a study until it has the number of finished trials that you ask for; the same command continues it."""
    refuse_windows()
    from search.report import command_options, make_report
    from search.study import open_named

    check_timeout(trial_timeout)
    cluster.check(device=device)
    check_request(
        trials=trials, timeout=timeout, until_flat=until_flat, seed=seed, workers=workers, confirm=confirm
    )
    targets = targets_of(track or ())
    found = open_named(study, storage, create=True, seed=seed, tell=lambda _: None)
    interrupted = search_study(
        found,
        trials=trials,
        timeout=timeout,
        until_flat=until_flat,
        recipes=recipes,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        confirm=confirm,
        cluster=cluster,
        track=targets,
    )
    make_report(found.study, found.spec, found.folder, command_options(study, storage))
    return EXIT_INTERRUPTED if interrupted else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    with interruptible():
        try:
            code = launch(run, name="search.run", argv=argv)
        except KeyboardInterrupt:  # outside the search, which has nothing to leave in order
            code = EXIT_INTERRUPTED
        return code if interrupted_at() is None else EXIT_INTERRUPTED


def check_request(
    *,
    trials: int,
    timeout: float | None,
    until_flat: float | None,
    seed: int | None,
    workers: int | Literal["auto"],
    confirm: int,
    mark: str = "--",
) -> None:
    """Refuse numbers that no search can have; ``mark`` stands before the name of each.

    Raises:
        InputError: One is out of range.
    """
    if trials < 1:
        raise InputError(f"{mark}trials must be at least 1, got {trials}; raise it")
    if timeout is not None and not timeout > 0:
        raise InputError(f"{mark}timeout must be above 0 seconds, got {timeout}; raise it or leave it out")
    if until_flat is not None and not isinstance(until_flat, bool) and not until_flat > 0:
        raise InputError(
            f"{mark}until-flat must be above 0 points, got {until_flat:g}; raise it or leave it out"
        )
    if seed is not None and seed < 0:
        raise InputError(f"{mark}seed must be 0 or more, got {seed}; raise it")
    if workers != "auto" and workers < 1:
        raise InputError(f"{mark}workers must be auto or at least 1, got {workers}; raise it")
    if confirm < 0:
        raise InputError(f"{mark}confirm must be 0 or more finalists, got {confirm}; raise it")
