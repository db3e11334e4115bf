"""A study, searched until it has the number of finished trials that were asked for; then confirmed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.run.preparation import enqueue, prepare_and_note
from search.study import attributes as attr
from search.terminal import say
from search.trials import NO_CLUSTER, ClusterOptions, TrialTimeout
from trainers.config import Device
from trainers.errors import InputError

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from search.study import Opened, StudySpec
    from search.trials import Cluster, Live, Mirror, Target
    from trainers.fit import Features


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

    from search.analysis import note_flat, note_words
    from search.interrupts import held_back
    from search.storage import database_of
    from search.study import finished, recover, start
    from search.trials import Live, warm_up

    started = time.monotonic()
    if workers != 1 and cluster is None:
        warm_up()
    from search.trials import most_workers, pools, run_trials  # heavy: both processes import at once
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
        own = cluster.own_device() if cluster else choose_device(device)
        features, texts = prepare_and_note(study, spec, live, own)
        if cluster is not None:
            features = features.on(cluster.device)
        num_layers = features.encoder.num_layers
        for sentence in _remarks(study, spec, num_layers=num_layers):
            live.message(sentence)
        with held_back():
            plan = start.choose(study, spec, earlier, num_layers=num_layers, tell=live.message)
            enqueue(study, spec, _recipe_names(spec, recipes), num_layers=num_layers)
            start.enqueue(study, spec, plan)
        left = num_trials - len(finished(study.get_trials(deepcopy=False)))
        learnt = num_trials if spec.sampler.learns else None
        most = most_workers(trials_left=left, num_trials=learnt)
        room = left if workers != "auto" else most
        run_trials(
            study,
            spec,
            features,
            live,
            num_trials=num_trials,
            started=started,
            deadline=None if timeout is None else started + timeout,
            noticeable=noticeable,
            num_workers=most
            if cluster
            else _num_workers(study, spec, features, live, workers, left=left, num_trials=learnt),
            trial_timeout=trial_timeout,
            open_pool=pools(cluster, spec, workers=workers, most=room, tell=live.message)
            if cluster
            else None,
            saw=shown.saw,
        )
        why = None if noticeable is None else note_flat(study, num_trials=num_trials, noticeable=noticeable)
        if why:
            live.message(why)
        live.stage("measuring the words alone")  # last, so that no trial waits for it
        note_words(study, texts, metric=spec.score.metric)


def _remarks(study: optuna.Study, spec: StudySpec, *, num_layers: int) -> Iterator[str]:
    """Say what the search cannot gain, and which of its settings can change nothing."""
    from search.analysis import call_out, majority_of
    from search.study import idle_settings

    known = study.user_attrs
    little = call_out(
        spec.goal.validation_accuracy,
        words=(known.get(attr.WORDS) or {}).get("validation_accuracy"),
        majority=majority_of(known.get(attr.DATA), metric=spec.score.metric),
        metric=spec.score.metric,
    )
    if little:
        yield little
    yield from idle_settings(spec, num_layers=num_layers)


def _num_workers(
    study: optuna.Study,
    spec: StudySpec,
    features: Features,
    live: Live,
    workers: int | Literal["auto"],
    *,
    left: int,
    num_trials: int | None,
) -> int:
    """Return how many trials run at once on this machine."""
    from search.trials import most_bytes, number_of_workers, worker_bytes

    return number_of_workers(
        workers,
        threads=spec.any_config().threads,
        trials_left=left,
        num_trials=num_trials,
        device=features.encoder.device,
        worker_bytes=lambda: worker_bytes(study, spec, features, live),
        most_bytes=lambda: most_bytes(features.encoder, features.splits, spec.heaviest_config()),
        tell=live.message,
    )


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
