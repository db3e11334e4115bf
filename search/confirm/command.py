"""Finalists fitted again on fresh seeds, each fit tested once: python -m search.confirm."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from search.interrupts import EXIT_INTERRUPTED, held_back, interrupted_at, interruptible
from search.storage import StorageOption
from search.trials import HELP, NO_CLUSTER, ClusterOptions, TrialTimeout, check_timeout
from trainers.cli import DEVICE, launch, refuse_windows
from trainers.config import Device
from trainers.errors import FitError, InputError, printable

if TYPE_CHECKING:
    import optuna

    from search.analysis import Classes, Predicted
    from search.confirm.finalists import Finalist
    from search.study import Opened, Reason, StudySpec
    from search.trials import Cluster, Live, Place, Pool
    from trainers.config import Metric, TrainConfig
    from trainers.data import Split, Splits, Texts
    from trainers.fit import Features

NUM_FINALISTS = 3
NUM_SEEDS = 3

KEPT = (
    "validation_accuracy",
    "training_accuracy",
    "seconds",
    "best_epoch",
    "test_predictions",
    "calibration",
)
"""Figures of a fit that the study keeps."""

OF_FOLDS = ("stop_at", "refit_training_accuracy")
"""Likewise, of the model that is fitted on all folds: it is what predicted the test split."""

MADE_BY = ("frostline", "torch", "transformers", "tokenizers")
"""Packages of whose versions a fit's result may depend."""


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


def confirm_opened(
    found: Opened,
    *,
    finalists: int = NUM_FINALISTS,
    seeds: int = NUM_SEEDS,
    workers: Literal["auto"] | int = "auto",
    device: Device | Literal["auto"] = "auto",
    trial_timeout: TrialTimeout = "auto",
    cluster: ClusterOptions = NO_CLUSTER,
) -> bool:
    """Confirm an opened study under its lease; returns whether the user interrupted.

    Raises:
        InputError: As ``confirm_study`` does, or another process searches the study.
    """
    from search.storage import Lease
    from search.trials import joined

    try:
        with Lease(found.study), joined(cluster) as there:
            confirm_study(
                found.study,
                found.spec,
                num_finalists=finalists,
                num_seeds=seeds,
                workers=workers,
                device=device,
                trial_timeout=trial_timeout,
                cluster=there,
            )
    except KeyboardInterrupt:
        return True
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    with interruptible():
        try:
            code = launch(confirm, name="search.confirm", argv=argv)
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        return code if interrupted_at() is None else EXIT_INTERRUPTED


@dataclass(frozen=True)
class _Fit:
    """One fit to be made: of a finalist, on a fresh seed."""

    name: str
    config: TrainConfig

    @property
    def key(self) -> str:
        """The study's system attribute that keeps what came out; equal configurations give equal results."""
        from search.study import attributes

        digest = hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()
        return f"{attributes.FIT_PREFIX}{digest[:32]}"


def confirm_study(
    study: optuna.Study,
    spec: StudySpec,
    *,
    num_finalists: int,
    num_seeds: int,
    workers: Literal["auto"] | int,
    device: Device | Literal["auto"],
    trial_timeout: TrialTimeout,
    cluster: Cluster | None = None,
) -> None:
    """Confirm a study whose lease is held, and leave the outcome in it.

    Each fit predicts the test split once, at its end, and is kept; those that are kept are not made again, unless
    other versions of the software made them.

    Raises:
        InputError: No trial is feasible, or encoder, texts or cache cannot be used.
        KeyboardInterrupt: The user interrupted; the fits under way are lost, the others are kept.
    """
    from rich.console import Console

    from search.confirm.finalists import choose_finalists
    from search.storage import database_of, optuna_private
    from search.study import finished
    from search.trials import (
        Crew,
        Live,
        most_bytes,
        most_workers,
        number_of_workers,
        pools,
        prepare,
        warm_up,
        worker_bytes,
    )

    chosen = choose_finalists(study, spec, num_finalists=num_finalists)
    after = len(finished(study.get_trials(deepcopy=False)))
    if cluster is not None:
        cluster.hire(spec, workers=workers, fits_left=len(chosen) * num_seeds)
    elif workers != 1:
        warm_up()
    from trainers.fit import choose_device

    with Live(Console(), total_trials=0, ceiling=spec.score.ceiling) as live:
        database_of(study).tell = live.message
        depths = {depth for finalist in chosen for depth in finalist.config.depths}
        own = choose_device(device) if cluster is None else cluster.own_device()
        features, _, texts = prepare(study, spec, live, own, depths=lambda _: depths)
        if cluster is not None:
            features = features.on(cluster.device)
        rounds = _rounds(chosen, spec, features, num_seeds=num_seeds)
        kept = optuna_private.system_attributes(study)
        missing = [fit for fit in rounds if not _is_ours(kept.get(fit.key))]
        if cluster is not None:
            num_workers = most_workers(trials_left=len(missing))
        else:
            num_workers = number_of_workers(
                workers,
                threads=spec.any_config().threads,
                trials_left=len(missing),
                device=features.encoder.device,
                worker_bytes=lambda: worker_bytes(study, spec, features, live),
                most_bytes=lambda: most_bytes(features.encoder, features.splits, spec.heaviest_config()),
                tell=live.message,
            )
        live.message(_plan(chosen, missing, num_seeds=num_seeds, num_workers=num_workers))
        others = [kept[fit.key] for fit in missing if fit.key in kept]
        if others:
            live.message(_foreign(others))

        pool: Pool | None = None
        if cluster is not None:
            open_pool = pools(cluster, spec, most=num_workers, tell=live.message)
            pool = open_pool(features, ())
        elif num_workers > 1 or not isinstance(trial_timeout, str):
            pool = Crew(features, size=num_workers, peeks=())
        watch = _watch(study, features, chosen, trial_timeout)
        ended = _fitted(missing, features, pool, watch, live.message)
        for done, (fit, record) in enumerate(ended, start=1):
            with held_back():
                optuna_private.set_system_attribute(study, fit.key, record)
            live.message(f"[{done}/{len(missing)}] {_describe(fit, record)}")
        _judge(study, spec, chosen, rounds, features, texts, live, after=after)


def _judge(
    study: optuna.Study,
    spec: StudySpec,
    chosen: Sequence[Finalist],
    rounds: Sequence[_Fit],
    features: Features,
    texts: Texts,
    live: Live,
    *,
    after: int,
) -> None:
    """Leave in the study what the fits say of the finalists, which were chosen after that number of finished trials."""
    from search.confirm.finalists import outcome
    from search.storage import optuna_private
    from search.study import attributes

    live.stage("measuring the words alone on the test split")
    words = _words_alone(study, spec, texts)
    live.stage("resampling the test split")
    kept = optuna_private.system_attributes(study)
    found = outcome(
        chosen,
        {c.name: [kept[fit.key] for fit in rounds if fit.name == c.name] for c in chosen},
        _labels(features.splits, "test", spec.score.metric),
        validation_N=_labels(features.splits, "validation", spec.score.metric),
        rule=spec.score,
        num_classes=len(features.splits.class_names),
        after=after,
        versions=_versions(),
        words_N=words,
        groups_N=_groups(features.splits),
        ordered=features.splits.ordered,
        label_names=features.splits.class_names if features.splits.task == "several_labels" else None,
    )
    with held_back():
        optuna_private.set_system_attribute(study, attributes.CONFIRMATION, found.plain())


def _validated(splits: Splits) -> Split:
    """Return the texts that validation figures are over: of folds, all that they share."""
    return splits.validation if splits.folds is None else splits.train


def _labels(splits: Splits, name: Literal["validation", "test"], metric: Metric) -> Classes:
    """Return the classes of a split; where the metric ranks texts by one of two, that one as a label, labels_N1."""
    from trainers.fit import one_column, ranked_class

    labels_N: Classes = (splits.test if name == "test" else _validated(splits)).labels_N
    ranked = ranked_class(metric, splits.positive)
    return labels_N if ranked is None else one_column(labels_N, positive=ranked)


def _groups(splits: Splits) -> dict[str, Classes] | None:
    """Return the group of each text of the validation and the test split; None where there are none."""
    validation_N, test_N = _validated(splits).groups_N, splits.test.groups_N
    if validation_N is None or test_N is None:
        return None
    return {"validation": validation_N, "test": test_N}


def _watch(
    study: optuna.Study, features: Features, finalists: Sequence[Finalist], wanted: TrialTimeout
) -> Callable[[_Fit], float | None]:
    """Return what tells how long a fit may be silent; recipes may for ever, unless the user gave seconds."""
    recipes = {finalist.name for finalist in finalists if finalist.recipe}

    def patience(fit: _Fit) -> float | None:
        return _patience(study, features, "none" if fit.name in recipes and wanted == "auto" else wanted)

    return patience


def _words_alone(study: optuna.Study, spec: StudySpec, texts: Texts) -> Predicted:
    """Return what the words alone take the test texts for; the test split is opened here, and in no search."""
    from search.analysis import fit_words, note_words

    note_words(study, texts, metric=spec.score.metric)
    return fit_words(texts, metric=spec.score.metric).predict(texts.rows[i].text for i in texts.parts["test"])


def _rounds(
    finalists: Sequence[Finalist], spec: StudySpec, features: Features, *, num_seeds: int
) -> list[_Fit]:
    """List all fits by seed, and of each seed the longest first."""
    from search.confirm.finalists import fresh_seeds

    encoder = features.encoder
    fits = []
    for seed in fresh_seeds(spec.seed, num_seeds):
        for finalist in sorted(finalists, key=lambda f: -f.seconds):
            config = finalist.config
            pinned = config.encoder.model_copy(update={"revision": encoder.revision})
            data = config.data
            if (
                data.folds is not None
            ):  # other folds, as other seeds: how the search's fell had a part in its choice
                data = data.model_copy(update={"fold_seed": seed})
            changes = {
                "data": data,
                "seed": seed,
                "device": encoder.device,
                "encoder": pinned,
                "precision": features.precision,
            }
            fits.append(_Fit(finalist.name, config.model_copy(update=changes)))
    return fits


def _patience(study: optuna.Study, features: Features, wanted: TrialTimeout) -> float | None:
    """Return how long a fit may be silent; None for ever. To predict the test split it runs all layers over it."""
    from search.trials import patience_seconds

    num_layers = features.encoder.num_layers
    with held_back():
        trials = study.get_trials(deepcopy=False)
    seconds = patience_seconds(wanted, trials, num_trained=num_layers, num_layers=num_layers)
    if seconds is None or wanted != "auto":
        return seconds
    return seconds * max(1.0, len(features.splits.test) / len(features.splits.train))


def _fitted(
    fits: Sequence[_Fit],
    features: Features,
    pool: Pool | None,
    patience: Callable[[_Fit], float | None],
    tell: Callable[[str], None],
) -> Iterator[tuple[_Fit, dict[str, Any]]]:
    """Fit, in this process if there is no pool; yields each fit with its record as soon as it has ended."""
    from search.study import Reason
    from search.trials import figures_of

    if pool is not None:
        yield from _fitted_in_pool(fits, pool, patience, tell)
        return
    for fit in fits:
        try:
            record = _complete(fit, figures_of(fit.config, features, test=True))
        except FitError as error:
            record = _failed(fit, Reason.of_text(str(error)))
        yield fit, record


def _fitted_in_pool(
    fits: Sequence[_Fit],
    pool: Pool,
    patience: Callable[[_Fit], float | None],
    tell: Callable[[str], None],
) -> Iterator[tuple[_Fit, dict[str, Any]]]:
    from search.study import MAX_RETRIES, Ending
    from search.trials import Death, Failure, Fitted, Lost, Silence, drive

    waiting = list(range(len(fits)))
    deaths: Counter[tuple[int, Ending]] = Counter()
    with pool:

        def begin(_: int) -> int | None:
            if not waiting:
                return None
            job = waiting.pop(0)
            pool.begin(job, fits[job].config, test=True)
            pool.end_if_silent(job, seconds=patience(fits[job]))
            return job

        for job, news in drive(pool, begin):
            fit, place = fits[job], pool.place(job)
            match news:
                case Fitted(figures):
                    yield fit, _complete(fit, figures, place)
                case Failure(reason):
                    news.raise_bug()
                    yield fit, _failed(fit, reason, place)
                case Death() | Lost():
                    if isinstance(news, Death) and news.news:
                        tell(news.news)
                    ending = news.reason.ending
                    deaths[job, ending] += ending in {Ending.KILLED, Ending.NODE_LOST}
                    if deaths[job, ending] > MAX_RETRIES:
                        yield fit, _failed(fit, news.reason, place)
                    else:
                        waiting.insert(0, job)
                case Silence():
                    yield fit, _failed(fit, news.reason, place)


def _complete(fit: _Fit, figures: dict[str, Any], place: Place | None = None) -> dict[str, Any]:
    found = {k: figures[k] for k in (*KEPT, *OF_FOLDS) if k in figures}
    return {"seed": fit.config.seed, "state": "complete", "reason": None, **found, **_origin(fit, place)}


def _failed(fit: _Fit, reason: Reason, place: Place | None = None) -> dict[str, Any]:
    return {"seed": fit.config.seed, "state": "failed", "reason": reason.text, **_origin(fit, place)}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in MADE_BY}


def _origin(fit: _Fit, place: Place | None) -> dict[str, Any]:
    """Say what made a fit; without a place, it was this machine."""
    if place is not None:
        return {"versions": _versions(), "processor": place.computes_on}
    import torch

    from search.study import processor_name

    device = fit.config.device
    return {
        "versions": _versions(),
        "processor": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor_name(),
    }


def _is_ours(record: dict[str, Any] | None) -> bool:
    """Tell whether a fit is kept that these versions made.

    Another processor only rounds differently: a study of several machines goes on, and the report says so.
    """
    return record is not None and record.get("versions") == _versions()


def _foreign(records: Sequence[dict[str, Any]]) -> str:
    """Say how many fits are kept that are of no use now, and why."""
    before, now = records[0].get("versions"), _versions()
    if before is None:  # version 0.1.0
        made = "by a Frostline that did not note its versions"
    else:
        changed = [name for name in now if before.get(name) != now[name]]
        made = "by " + ", ".join(f"{name} {before.get(name)} (now {now[name]})" for name in changed)
    number = "1 fit that was kept was" if len(records) == 1 else f"{len(records)} fits that were kept were"
    return f"{number} made {made}: made again, so that versions are not mixed"


def _plan(finalists: Sequence[Finalist], missing: Sequence[_Fit], *, num_seeds: int, num_workers: int) -> str:
    from search.study import duration

    took = {finalist.name: finalist.seconds for finalist in finalists}
    seconds = sum(took[fit.name] for fit in missing) / num_workers
    names = ", ".join(finalist.name for finalist in finalists)
    all_fits = len(finalists) * num_seeds
    there = "" if len(missing) == all_fits else f", {all_fits - len(missing)} of them made before"
    return (
        f"{names}: {all_fits} fits on {num_seeds} fresh seed{'s' * (num_seeds > 1)}{there}; about "
        f"{duration(seconds)}; each predicts the test split once"
    )


def _describe(fit: _Fit, record: dict[str, Any]) -> str:
    from search.study import duration, percent

    text = f"{fit.name}, seed {record['seed']}: "
    if record["state"] == "failed":
        return text + f"failed: {printable(record['reason'])}"
    return (
        text + f"validation {percent(record['validation_accuracy'])}, "
        f"training {percent(record['training_accuracy'])}, {duration(record['seconds'])}"
    )
