"""A study's finalists, fitted again and judged; the study keeps what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from search.confirm.fits import Fit, describe, fitted, foreign, is_ours, rounds_of, versions
from search.interrupts import held_back
from search.trials import NO_CLUSTER, ClusterOptions, TrialTimeout
from trainers.config import Device

if TYPE_CHECKING:
    import optuna

    from search.analysis import Classes, Predicted
    from search.confirm.finalists import Finalist
    from search.study import Opened, StudySpec
    from search.trials import Cluster, Live, Pool
    from trainers.config import Metric
    from trainers.data import Split, Splits, Texts
    from trainers.fit import Features

NUM_FINALISTS = 3
NUM_SEEDS = 3


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
    from search.trials import Live, prepare, warm_up

    chosen = choose_finalists(study, spec, num_finalists=num_finalists)
    after = len(finished(study.get_trials(deepcopy=False)))
    if workers != 1 and cluster is None:
        warm_up()
    from trainers.fit import choose_device

    with Live(Console(), total_trials=0, ceiling=spec.score.ceiling) as live:
        database_of(study).tell = live.message
        depths = {depth for finalist in chosen for depth in finalist.config.depths}
        own = choose_device(device) if cluster is None else cluster.own_device()
        features, _, texts = prepare(study, spec, live, own, depths=lambda _: depths)
        if cluster is not None:
            features = features.on(cluster.device)
        rounds = rounds_of(chosen, spec, features, num_seeds=num_seeds)
        kept = optuna_private.system_attributes(study)
        missing = [fit for fit in rounds if not is_ours(kept.get(fit.key))]
        num_workers = _num_workers(study, spec, features, live, workers, cluster, left=len(missing))
        live.message(_plan(chosen, missing, num_seeds=num_seeds, num_workers=num_workers))
        others = [kept[fit.key] for fit in missing if fit.key in kept]
        if others:
            live.message(foreign(others))
        alone = num_workers == 1 and isinstance(trial_timeout, str) and cluster is None
        pool = None if alone else _pool(spec, features, live, workers, cluster, num_workers=num_workers)
        watch = _watch(study, features, chosen, trial_timeout)
        ended = fitted(missing, features, pool, watch, live.message)
        for done, (fit, record) in enumerate(ended, start=1):
            with held_back():
                optuna_private.set_system_attribute(study, fit.key, record)
            live.message(f"[{done}/{len(missing)}] {describe(fit, record)}")
        _judge(study, spec, chosen, rounds, features, texts, live, after=after)


def _num_workers(
    study: optuna.Study,
    spec: StudySpec,
    features: Features,
    live: Live,
    workers: Literal["auto"] | int,
    cluster: Cluster | None,
    *,
    left: int,
) -> int:
    """Return how many of the fits that are left run at once."""
    from search.trials import most_bytes, most_workers, number_of_workers, worker_bytes

    if cluster is not None:
        return most_workers(trials_left=left)
    return number_of_workers(
        workers,
        threads=spec.any_config().threads,
        trials_left=left,
        device=features.encoder.device,
        worker_bytes=lambda: worker_bytes(study, spec, features, live),
        most_bytes=lambda: most_bytes(features.encoder, features.splits, spec.heaviest_config()),
        tell=live.message,
    )


def _pool(
    spec: StudySpec,
    features: Features,
    live: Live,
    workers: Literal["auto"] | int,
    cluster: Cluster | None,
    *,
    num_workers: int,
) -> Pool:
    """Return what fits elsewhere than in this process: a cluster's nodes, or processes of this machine."""
    from search.trials import Crew, pools

    if cluster is None:
        return Crew(features, size=num_workers, peeks=())
    return pools(cluster, spec, workers=workers, most=num_workers, tell=live.message)(features, ())


def _judge(
    study: optuna.Study,
    spec: StudySpec,
    chosen: Sequence[Finalist],
    rounds: Sequence[Fit],
    features: Features,
    texts: Texts,
    live: Live,
    *,
    after: int,
) -> None:
    """Leave in the study what the fits say of the finalists, which were chosen after that number of finished trials."""
    from search.confirm.judgement import outcome
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
        versions=versions(),
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
) -> Callable[[Fit], float | None]:
    """Return what tells how long a fit may be silent; recipes may for ever, unless the user gave seconds."""
    recipes = {finalist.name for finalist in finalists if finalist.recipe}

    def patience(fit: Fit) -> float | None:
        return _patience(study, features, "none" if fit.name in recipes and wanted == "auto" else wanted)

    return patience


def _words_alone(study: optuna.Study, spec: StudySpec, texts: Texts) -> Predicted:
    """Return what the words alone take the test texts for; the test split is opened here, and in no search."""
    from search.analysis import fit_words, note_words

    note_words(study, texts, metric=spec.score.metric)
    return fit_words(texts, metric=spec.score.metric).predict(texts.rows[i].text for i in texts.parts["test"])


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


def _plan(finalists: Sequence[Finalist], missing: Sequence[Fit], *, num_seeds: int, num_workers: int) -> str:
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
