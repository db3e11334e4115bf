"""The main job: python -m search.run --trials 50."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from search.interrupts import EXIT_INTERRUPTED, interrupted_at, interruptible
from search.storage import StorageOption
from search.study import attributes as attr
from search.terminal import say
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

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from search.study import Opened, StudySpec
    from search.trials import Cluster, Live, Mirror, Target
    from trainers.data import Texts
    from trainers.fit import Features


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


def search_study(
    found: Opened,
    *,
    trials: int,
    timeout: float | None = None,
    until_flat: float | None = None,
    recipes: Literal["study", "all", "none"] = "study",
    workers: int | Literal["auto"] = "auto",
    device: Device | Literal["auto"] = "auto",
    trial_timeout: TrialTimeout = "auto",
    confirm: int = 0,
    cluster: ClusterOptions = NO_CLUSTER,
    track: Sequence[Target] = (),
    console: Console | None = None,
) -> bool:
    """Search an opened study until it has so many finished trials, then confirm; returns whether the user interrupted.

    Args:
        found: The study, opened to be searched.
        trials: As for the command, like all that follow.
        timeout: See there.
        until_flat: See there.
        recipes: See there.
        workers: See there.
        device: See there.
        trial_timeout: See there.
        confirm: See there.
        cluster: See there.
        track: Where trials are shown, too.
        console: Where progress is shown; None takes standard output.

    Raises:
        InputError: Encoder, texts, cache or device cannot be used, or another process searches the study.
    """
    from search.storage import Lease
    from search.study import finished
    from search.trials import Mirror, joined

    study, spec = found.study, found.spec
    if len(finished(study.get_trials(deepcopy=False))) < trials:  # else spare the heavy imports
        try:
            with Lease(study), joined(cluster) as there:
                _search(
                    study,
                    spec,
                    num_trials=trials,
                    timeout=timeout,
                    noticeable=_noticeable(until_flat),
                    recipes=recipes,
                    folder=found.path.parent,
                    workers=workers,
                    device=device,
                    trial_timeout=trial_timeout,
                    cluster=there,
                    mirror=lambda tell: Mirror(study, spec, found.folder, track, tell=tell),
                    console=console,
                )
        except KeyboardInterrupt:
            return True
    else:
        _tidy(study)
        if track:
            with Lease(study), Mirror(study, spec, found.folder, track, tell=say):
                pass  # left, it shows all trials
    return bool(confirm) and _confirm(
        found,
        num_finalists=confirm,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        cluster=cluster,
    )


def _noticeable(until_flat: float | None) -> float | None:
    """Return as a share what the user gave in points, or as a flag without a number."""
    from search.analysis import NOTICEABLE

    if isinstance(until_flat, bool):
        return NOTICEABLE if until_flat else None
    return None if until_flat is None else until_flat / 100


def _recipe_names(spec: StudySpec, recipes: str) -> tuple[str, ...]:
    from search.study import RECIPES

    return {"study": spec.recipes.enqueue, "all": tuple(RECIPES), "none": ()}[recipes]


def _search(
    study: optuna.Study,
    spec: StudySpec,
    *,
    num_trials: int,
    timeout: float | None,
    noticeable: float | None,
    recipes: str,
    folder: Path,
    workers: int | Literal["auto"],
    device: Device | Literal["auto"],
    trial_timeout: TrialTimeout,
    cluster: Cluster | None,
    mirror: Callable[[Callable[[str], None]], Mirror],
    console: Console | None,
) -> None:
    """Prepare data and features, then run trials."""
    from rich.console import Console

    from search.analysis import call_out, majority_of, note_flat, note_words
    from search.interrupts import held_back
    from search.storage import database_of
    from search.study import finished, idle_settings, recover, start
    from search.trials import Live, warm_up

    started = time.monotonic()
    if workers != 1 and cluster is None:
        warm_up()
    from search.trials import (  # heavy: both processes import at once
        most_bytes,
        most_workers,
        number_of_workers,
        pools,
        run_trials,
        worker_bytes,
    )
    from trainers.fit import choose_device

    with (
        Live(
            console or Console(),
            total_trials=num_trials,
            ceiling=spec.score.ceiling,
            trials=study.get_trials(deepcopy=False),
        ) as live,
        mirror(live.message) as shown,
    ):
        database_of(study).tell = live.message
        with held_back():
            found = recover(study)
        if found:
            live.message(f"{found} trial(s) of a killed search were found and enqueued again")
        shown.show_all()
        earlier = start.look_round(study, spec, folder)
        own = choose_device(device) if cluster is None else cluster.own_device()
        features, texts = _prepare(study, spec, live, own)
        if cluster is not None:
            features = features.on(cluster.device)
        known = study.user_attrs
        little = call_out(
            spec.goal.validation_accuracy,
            words=(known.get(attr.WORDS) or {}).get("validation_accuracy"),
            majority=majority_of(known.get(attr.DATA), metric=spec.score.metric),
            metric=spec.score.metric,
        )
        if little:
            live.message(little)
        num_layers = features.encoder.num_layers
        for sentence in idle_settings(spec, num_layers=num_layers):
            live.message(sentence)
        with held_back():
            plan = start.choose(study, spec, earlier, num_layers=num_layers, tell=live.message)
            _enqueue(study, spec, _recipe_names(spec, recipes), num_layers=num_layers)
            start.enqueue(study, spec, plan)
        deadline = None if timeout is None else started + timeout
        left = num_trials - len(finished(study.get_trials(deepcopy=False)))
        num_learnt_from = num_trials if spec.sampler.learns else None
        most = most_workers(trials_left=left, num_trials=num_learnt_from)
        run_trials(
            study,
            spec,
            features,
            live,
            num_trials=num_trials,
            started=started,
            deadline=deadline,
            noticeable=noticeable,
            num_workers=most
            if cluster is not None
            else number_of_workers(
                workers,
                threads=spec.any_config().threads,
                trials_left=left,
                num_trials=num_learnt_from,
                device=features.encoder.device,
                worker_bytes=lambda: worker_bytes(study, spec, features, live),
                most_bytes=lambda: most_bytes(features.encoder, features.splits, spec.heaviest_config()),
                tell=live.message,
            ),
            trial_timeout=trial_timeout,
            open_pool=None
            if cluster is None
            else pools(
                cluster, spec, workers=workers, most=left if workers != "auto" else most, tell=live.message
            ),
            saw=shown.saw,
        )
        if noticeable is not None:
            why = note_flat(study, num_trials=num_trials, noticeable=noticeable)
            if why:
                live.message(why)
        live.stage("measuring the words alone")  # last, so that no trial waits for it
        note_words(study, texts, metric=spec.score.metric)


def _confirm(
    found: Opened,
    *,
    num_finalists: int,
    workers: int | Literal["auto"],
    device: Device | Literal["auto"],
    trial_timeout: TrialTimeout,
    cluster: ClusterOptions,
) -> bool:
    """Confirm the finalists, as ``search.confirm`` does; returns whether the user interrupted.

    A search without a feasible trial has none, which is no mistake of the command.
    """
    from search.confirm import choose_finalists, confirm_opened

    try:
        choose_finalists(found.study, found.spec, num_finalists=num_finalists)
    except InputError as error:
        say(f"nothing to confirm: {error}")
        return False
    return confirm_opened(
        found,
        finalists=num_finalists,
        workers=workers,
        device=device,
        trial_timeout=trial_timeout,
        cluster=cluster,
    )


def _tidy(study: optuna.Study) -> None:
    """Mend what a killed search left, unless another one is under way, whose trials those are."""
    from optuna.trial import TrialState

    from search.interrupts import held_back
    from search.storage import Lease, LeaseHeldError
    from search.study import recover

    if study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        with suppress(LeaseHeldError), Lease(study), held_back():
            recover(study)


def _prepare(study: optuna.Study, spec: StudySpec, live: Live, device: Device) -> tuple[Features, Texts]:
    """Prepare what every trial may ask for, and leave in the study what was found."""
    from search.interrupts import held_back
    from search.study import recipe_depths
    from search.trials import prepare

    began = time.monotonic()

    def depths(num_layers: int) -> Iterator[int]:
        yield from spec.depths()
        if spec.starts_from_vectors():
            yield num_layers
        for name in spec.recipes.enqueue:
            yield from recipe_depths(name, num_layers=num_layers)

    features, data, texts = prepare(study, spec, live, device, depths=depths)
    known = {
        # Again: a launcher that was refused the lease may have opened the study meanwhile, with other settings.
        attr.SPEC: spec.model_dump(mode="json"),
        **_peak(study, spec, features),
        attr.NUM_LAYERS: features.encoder.num_layers,
        attr.PRECISION: features.precision,
        attr.ENCODER_REVISION: features.encoder.revision,
        attr.ENCODER_SHA256: features.encoder.fingerprint,
        attr.CACHE_BYTES: features.num_bytes(),
        attr.PREPARATION_SECONDS: study.user_attrs.get(attr.PREPARATION_SECONDS, 0.0)
        + time.monotonic()
        - began,
        attr.DATA: data,
    }
    with held_back():
        for key, value in known.items():
            study.set_user_attr(key, value)
    return features, texts


def _peak(study: optuna.Study, spec: StudySpec, features: Features) -> dict[str, float]:
    """Return what the processor can do at its best, to be kept with the study; a GPU is not held against it."""
    from search.trials import known_peak_flops
    from trainers.fit import default_cache_directory

    if features.encoder.device != "cpu":
        return {}
    directory = spec.cache.directory or default_cache_directory()
    peak = known_peak_flops(directory, precision=features.precision)
    return {attr.PEAK_FLOPS: max(peak, study.user_attrs.get(attr.PEAK_FLOPS, 0.0))}


def _enqueue(study: optuna.Study, spec: StudySpec, names: Sequence[str], *, num_layers: int) -> None:
    """Put recipes that the study has not seen yet before the search."""
    from search.study import recipe_params

    seen = {t.user_attrs.get(attr.RECIPE) for t in study.get_trials(deepcopy=False)}
    for name in names:
        if name not in seen:
            study.enqueue_trial(
                recipe_params(name, spec, num_layers=num_layers), user_attrs={attr.RECIPE: name}
            )


if __name__ == "__main__":
    sys.exit(main())
