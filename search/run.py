"""The main job: python -m search.run --trials 50."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from search.interrupts import EXIT_INTERRUPTED, interrupted_at, interruptible
from trainers.cli import launch
from trainers.errors import InputError

if TYPE_CHECKING:
    import optuna

    from search.live import Live
    from search.spec import StudySpec
    from trainers.features import Features


def run(
    *,
    trials: Annotated[int, Parameter(help="Finished trials the study shall have in all.")] = 50,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    timeout: Annotated[
        float | None, Parameter(help="Begin no trial after so many seconds. [default: none]")
    ] = None,
    seed: Annotated[int | None, Parameter(help="Seed of a new study. [default: the TOML file's]")] = None,
    storage: Annotated[
        str | None, Parameter(help="Database URL. [default: study.db in the study's folder]")
    ] = None,
    recipes: Annotated[
        Literal["study", "all", "none"],
        Parameter(help="Known recipes to run first: the TOML file's, all, or none."),
    ] = "study",
    workers: Annotated[
        Literal["auto"] | int, Parameter(help="Trials under way at once; auto keeps every core busy.")
    ] = "auto",
) -> int:
    """Search a study until it has so many finished trials; the same command continues it."""
    from search.lease import Lease
    from search.report import command_options, make_report
    from search.results import finished
    from search.spec import find_study, load_spec
    from search.storage import begun_with, open_study, results_dir

    _check(trials=trials, timeout=timeout, seed=seed, workers=workers)
    path = find_study(study)
    spec = load_spec(path)
    opened = open_study(spec, path, storage_url=storage, create=True)
    spec = begun_with(opened, spec, seed=seed)
    interrupted = False
    if len(finished(opened.get_trials(deepcopy=False))) < trials:  # else spare the heavy imports
        try:
            with Lease(opened):
                _search(opened, spec, num_trials=trials, timeout=timeout, recipes=recipes, workers=workers)
        except KeyboardInterrupt:
            interrupted = True
    else:
        _tidy(opened)
    make_report(opened, spec, results_dir(path, spec), command_options(study, storage))
    return EXIT_INTERRUPTED if interrupted else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    with interruptible():
        try:
            code = launch(run, name="search.run", argv=argv)
        except KeyboardInterrupt:  # outside the search, which has nothing to leave in order
            code = EXIT_INTERRUPTED
        return code if interrupted_at() is None else EXIT_INTERRUPTED


def _check(*, trials: int, timeout: float | None, seed: int | None, workers: int | Literal["auto"]) -> None:
    if trials < 1:
        raise InputError(f"--trials must be at least 1, got {trials}; raise it")
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout must be above 0 seconds, got {timeout}; raise it or leave it out")
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be 0 or more, got {seed}; raise it")
    if workers != "auto" and workers < 1:
        raise InputError(f"--workers must be auto or at least 1, got {workers}; raise it")


def _recipe_names(spec: StudySpec, recipes: str) -> tuple[str, ...]:
    from search.recipes import RECIPES

    return {"study": spec.recipes.enqueue, "all": tuple(RECIPES), "none": ()}[recipes]


def _search(
    study: optuna.Study,
    spec: StudySpec,
    *,
    num_trials: int,
    timeout: float | None,
    recipes: str,
    workers: int | Literal["auto"],
) -> None:
    """Prepare data and features, then run trials."""
    from rich.console import Console

    from search.interrupts import held_back
    from search.lease import database_of
    from search.live import Live
    from search.processes import warm_up
    from search.results import finished
    from search.storage import recover

    started = time.monotonic()
    if workers != 1:
        warm_up()
    from search.workers import number_of_workers, run_trials  # heavy: both processes import at once

    with Live(Console(), total_trials=num_trials, ceiling=spec.score.ceiling, trials=study.trials) as live:
        database_of(study).tell = live.message
        with held_back():
            found = recover(study)
        if found:
            live.message(f"{found} trial(s) of a killed search were found and enqueued again")
        features = _prepare(study, spec, live)
        with held_back():
            _enqueue(study, spec, _recipe_names(spec, recipes), num_layers=features.encoder.num_layers)
        deadline = None if timeout is None else started + timeout
        run_trials(
            study,
            spec,
            features,
            live,
            num_trials=num_trials,
            started=started,
            deadline=deadline,
            num_workers=number_of_workers(
                workers,
                threads=spec.any_config().threads,
                trials_left=num_trials - len(finished(study.get_trials(deepcopy=False))),
            ),
        )
        with held_back():
            _note_peak(study)


def _tidy(study: optuna.Study) -> None:
    """Mend what a killed search left, unless another one is under way, whose trials those are."""
    from optuna.trial import TrialState

    from search.interrupts import held_back
    from search.lease import Lease, LeaseHeldError
    from search.storage import recover

    if study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        with suppress(LeaseHeldError), Lease(study), held_back():
            recover(study)


def _note_peak(study: optuna.Study) -> None:
    """Measure the processor, and keep the best figure: whatever else ran on the machine lowered the others."""
    from search.account import measure_peak_flops

    study.set_user_attr("peak_flops", max(measure_peak_flops(), study.user_attrs.get("peak_flops", 0.0)))


def _prepare(study: optuna.Study, spec: StudySpec, live: Live) -> Features:
    """Load encoder and texts and store the features of every depth that a trial can ask for."""
    from search.interrupts import held_back
    from search.recipes import RECIPES
    from trainers.data import load_splits
    from trainers.encoder import load_encoder
    from trainers.features import build_features, default_cache_directory

    began = time.monotonic()
    live.stage("measuring what the processor can do")
    with held_back():
        _note_peak(study)
    live.stage(f"loading encoder {spec.encoder.name}")
    encoder = load_encoder(spec.encoder)
    deepest = max(spec.depths())
    if deepest > encoder.num_layers:
        raise InputError(
            f"fit.freeze_depth must be at most {encoder.num_layers}, the layers of encoder {spec.encoder.name!r}, "
            f"got {deepest}; lower it"
        )
    live.stage(f"reading and tokenising {spec.data.source}")
    splits = load_splits(spec.data, encoder.tokenizer)
    recipe_depths = {
        RECIPES[name].resolve(num_layers=encoder.num_layers)["freeze_depth"] for name in spec.recipes.enqueue
    }
    live.stage("computing what the frozen layers give (once, then kept)")
    features = build_features(
        encoder,
        splits,
        spec.any_config(),
        depths=sorted({*spec.depths(), *recipe_depths}),
        directory=spec.cache.directory or default_cache_directory(),
        disk_bytes=int(spec.cache.disk_gib * 2**30),
        on_progress=lambda done, total: live.progress("frozen layers, texts", done, total),
    )
    known = {
        # Again: a launcher that was refused the lease may have opened the study meanwhile, with other settings.
        "spec": spec.model_dump(mode="json"),
        "num_layers": encoder.num_layers,
        "encoder_sha256": encoder.fingerprint,
        "cache_bytes": features.num_bytes(),
        "preparation_seconds": study.user_attrs.get("preparation_seconds", 0.0) + time.monotonic() - began,
        "data": {
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
            "class_names": list(splits.class_names),
            "duplicates": splits.duplicates,
            "contradictions": splits.contradictions,
            "mended": splits.mended,
        },
    }
    with held_back():
        for key, value in known.items():
            study.set_user_attr(key, value)
    return features


def _enqueue(study: optuna.Study, spec: StudySpec, names: Sequence[str], *, num_layers: int) -> None:
    """Put recipes that the study has not seen yet before the search."""
    from search.space import recipe_params

    seen = {t.user_attrs.get("recipe") for t in study.get_trials(deepcopy=False)}
    for name in names:
        if name not in seen:
            study.enqueue_trial(recipe_params(name, spec, num_layers=num_layers), user_attrs={"recipe": name})


if __name__ == "__main__":
    sys.exit(main())
