"""Who runs trials: this process, or local processes; one process alone asks for trials and tells of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

import joblib
import optuna
from optuna.trial import TrialState

from search.analysis import is_flat
from search.interrupts import held_back
from search.storage import DatabaseAwayError, LeaseLostError, optuna_private
from search.study import (
    INTERRUPTED,
    KILLED,
    Reason,
    StudySpec,
    attributes as attr,
    fail,
    recover,
    retry,
    tally_of,
)
from search.trials.draws import Draws
from search.trials.memory import available_bytes
from search.trials.news import Death, Ended, Failure, Fitted, Lost, Silence
from search.trials.objective import Attempt, objective
from search.trials.pool import NUM_RANDOM, TRIALS_PER_WORKER, OpenPool, Pool, drive
from search.trials.progress import Live
from search.trials.pruning import FeasiblePruner
from search.trials.sampler import SearchSampler, sampler_of
from search.trials.silence import Silences, TrialTimeout, patience_after
from search.trials.worker_pool import Crew
from trainers.config import Device
from trainers.errors import FitError
from trainers.fit import Evaluation, Features, FoldResult, cuda_devices, groups_of_hits

NOTE_SECONDS = 60.0
"""Between two times that the study is told what nodes spend their time on: of a search that is killed, so much is not known."""

SHARE_OF_MEMORY = 0.8
"""Of what is available, workers may be expected to take: other setups take a little more than the one that is measured."""


def run_trials(
    study: optuna.Study,
    spec: StudySpec,
    features: Features,
    live: Live,
    *,
    num_trials: int,
    started: float,
    deadline: float | None,
    noticeable: float | None = None,
    num_workers: int = 1,
    trial_timeout: TrialTimeout = "auto",
    open_pool: OpenPool | None = None,
    saw: Callable[[optuna.Trial], None] = lambda _: None,
) -> None:
    """Run trials until the study has ``num_trials`` finished ones in all, the deadline has passed, or the study is flat.

    A trial that is under way then is finished.

    Args:
        study: To be filled up.
        spec: Of the study.
        features: What fits read.
        live: What the terminal shows.
        num_trials: Total number of finished trials, whoever ran them.
        started: When this search began, preparations included, in ``time.monotonic()`` seconds.
        deadline: ``time.monotonic()`` seconds after which no trial begins; None means never.
        noticeable: No trial begins while all that are left are expected to gain less, see
            ``search.analysis.flatness``; None means never.
        num_workers: Trials under way at once; one runs in this process, several in processes of their own.
        trial_timeout: Seconds without news after which a fit is ended, or see ``search.trials.silence``. Who gives seconds
            gets a process for one worker, too: nothing can end a fit that hangs in this one.
        open_pool: Makes the workers, of a cluster; None takes this machine's.
        saw: Called when a trial has begun, was looked at, and has ended.

    Raises:
        KeyboardInterrupt: The user interrupted, or nobody was there to fit for too long; the trials under way are enqueued again.
        DatabaseAwayError: The database did not come back; the next start finds the trials under way.
        LeaseLostError: Another process searches the study now, and has those trials to repeat.
    """
    study.set_user_attr(attr.WORKERS, num_workers)
    rule = spec.pruning
    groups = groups_of_hits(features.splits, spec.data) if spec.data.group is not None else None
    study.pruner = FeasiblePruner(
        rule.rungs,
        keep=rule.keep,
        peers=rule.peers,
        margin=rule.margin,
        groups_N=groups[0] if groups else None,
    )
    search = _Search(
        study,
        spec,
        live,
        num_trials=num_trials,
        started=started,
        deadline=deadline,
        noticeable=noticeable,
        saw=saw,
    )
    try:
        if open_pool is None and num_workers == 1 and isinstance(trial_timeout, str):
            _run_here(search, features)
        else:
            pool: Pool
            if open_pool is None:
                pool = Crew(features, size=num_workers, peeks=rule.rungs)
            else:
                pool = open_pool(features, rule.rungs)
            _run_in_pool(search, features, pool, trial_timeout)
    except (DatabaseAwayError, LeaseLostError):
        raise
    except BaseException:
        search.close(reason=INTERRUPTED)
        raise
    search.close(reason=KILLED)


def number_of_workers(
    wanted: int | Literal["auto"],
    *,
    threads: int,
    trials_left: int,
    num_trials: int | None = None,
    device: Device = "cpu",
    worker_bytes: Callable[[], int] | None = None,
    most_bytes: Callable[[], int] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Return how many trials run at once.

    Args:
        wanted: By the user; ``auto`` is a worker for as many threads as the machine has cores for it: two
            fits side by side, one thread each, take less time than in turn with two threads each. Where fits compute on CUDA
            it is a worker a device, elsewhere one. It is no more than memory holds, and no more than let the sampler learn.
        threads: Of a fit.
        trials_left: More workers than these would have nothing to do.
        num_trials: Of the whole study, which a sampler proposes; None if none does.
        device: Where fits compute.
        worker_bytes: Measures the memory that a worker takes; None leaves memory alone.
        most_bytes: Reckons what it cannot exceed: where there is room for that, nothing is measured.
        tell: Gets a line that says what kept cores without work.
    """
    if wanted != "auto":
        return max(1, min(wanted, trials_left))
    if device == "cpu":
        room: int = max(1, joblib.cpu_count(only_physical_cores=True) // threads)
        there = f"cores for {room}"
    else:
        room = max(1, len(cuda_devices())) if device == "cuda" else 1
        there = f"{room} GPUs"
    number = max(1, min(room, trials_left))
    if num_trials is not None and num_trials > NUM_RANDOM and number > num_trials // TRIALS_PER_WORKER:
        number = num_trials // TRIALS_PER_WORKER
        tell(
            f"{number} workers, though there are {there}: with more than one for every {TRIALS_PER_WORKER} "
            "trials the sampler would learn too little from each; --workers sets another number"
        )
    if number == 1 or worker_bytes is None or device != "cpu":
        return number
    if most_bytes is not None and number * most_bytes() <= SHARE_OF_MEMORY * available_bytes():
        return number
    try:
        needed = worker_bytes()
    except FitError as error:
        tell(f"one worker: {error}")
        return 1
    available = available_bytes()
    fitting = max(1, int(SHARE_OF_MEMORY * available / needed))
    if fitting < number:
        tell(
            f"{fitting} worker{'s' * (fitting > 1)}, though there are {there}: a fit takes up to "
            f"{needed / 2**30:.2g} GiB here, and {available / 2**30:.2g} GiB are available; --workers sets another number"
        )
    return min(number, fitting)


_UnderWay = dict[int, tuple[optuna.Trial, Attempt]]


class _Search:
    """One start of a search: what is still wanted of it, and how its trials begin and end."""

    def __init__(
        self,
        study: optuna.Study,
        spec: StudySpec,
        live: Live,
        *,
        num_trials: int,
        started: float,
        deadline: float | None,
        noticeable: float | None = None,
        saw: Callable[[optuna.Trial], None],
    ) -> None:
        self.study = study
        self.spec = spec
        self.live = live
        self.saw = saw
        self._num_trials = num_trials
        self._started = started
        self._deadline = deadline
        self._noticeable = noticeable
        self._silences = Silences()
        self._patience: dict[int, float | None] = {}
        self._draws = Draws()
        self._earlier = study.user_attrs.get(attr.WALL_SECONDS, 0.0)
        self._pool: Pool | None = None
        self._noted = float("-inf")
        self._node_seconds = study.user_attrs.get(attr.NODE_SECONDS, {})

    @held_back()
    def wants_another(self, num_under_way: int = 0) -> bool:
        """Tell whether a trial is to begin beside those under way: never more than the budget asks for."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            return False
        tally = tally_of(self.study)
        if tally.num_finished + num_under_way >= self._num_trials:
            return False
        return self._noticeable is None or not is_flat(
            tally, num_trials=self._num_trials, noticeable=self._noticeable
        )

    @held_back()
    def begin(self) -> optuna.Trial:
        """Ask the study for a trial: one that waits to be repeated, or a new one."""
        # A fresh sampler a trial, seeded by the trial's place, which repeats share with their originals: given
        # the same results, a search that was cut off and continued draws what an uninterrupted one would have.
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))
        place = tally_of(self.study).place(number)
        self.study.sampler = sampler_of(self.spec, place=place)
        return self.study.ask()

    def watch_draw(self, *, num_workers: int) -> None:
        """Say so, once, if the sampler keeps the workers waiting."""
        sampler = self.study.sampler
        learns_from_all = self.spec.sampler.kind == "tpe" and self.spec.sampler.history is None
        if learns_from_all and isinstance(sampler, SearchSampler) and sampler.seconds:
            fits = tally_of(self.study).seconds
            said = self._draws.took(sampler.seconds, fits=fits, num_workers=num_workers)
            if said:
                self.live.message(said)

    @held_back()
    def end(self, trial: optuna.Trial, *, value: float | None = None, failure: Reason | None = None) -> None:
        """Tell the study a trial's value, or why it failed; neither of them means pruned."""
        try:
            if failure is not None:
                fail(self.study, trial, reason=failure)
            elif value is not None:
                self.study.tell(trial, value)
            else:
                self.study.tell(trial, state=TrialState.PRUNED)
        except (
            ValueError
        ):  # Optuna finds that it has ended: who ended it is said by a write, which needs the lease
            trial.set_user_attr(attr.UNTAKEN_VALUE, value)
            raise
        self._show_end(trial)

    @held_back()
    def killed(self, trial: optuna.Trial, death: Death | Lost) -> None:
        """Fail a trial whose process or node died, and enqueue it again."""
        retry(self.study, trial, reason=death.reason)
        self._show_end(trial)
        if isinstance(death, Death) and death.news:
            self.live.message(death.news)

    @held_back()
    def watch(self, pool: Pool, under_way: _UnderWay, *, num_layers: int, timeout: TrialTimeout) -> None:
        """Say how long each fit may be silent, from what the study has seen by now."""
        silences = self._silences.look(self.study.get_trials(deepcopy=False))
        allowed = {  # many fits, few depths
            depth: patience_after(timeout, silences, num_trained=num_layers - depth, num_layers=num_layers)
            for depth in {attempt.config.freeze_depth for _, attempt in under_way.values()}
        }
        for number, (_, attempt) in under_way.items():
            seconds = (
                None if attempt.is_recipe and timeout == "auto" else allowed[attempt.config.freeze_depth]
            )
            if self._patience.get(number, 0.0) != seconds:
                pool.end_if_silent(number, seconds=seconds)
                self._patience[number] = seconds
        for number in self._patience.keys() - under_way.keys():
            del self._patience[number]

    @held_back()
    def close(self, *, reason: Reason) -> None:
        """Leave no trial running: what still is will be repeated, for this reason."""
        recover(self.study, reason=reason)
        self._note_wall_time()
        self._note_node_time()

    def works_with(self, pool: Pool) -> None:
        """Note what its nodes spend their time on, from now on."""
        self._pool = pool

    def _note_node_time(self) -> None:
        found = dict(self._pool.node_seconds()) if self._pool is not None else {}
        if found:
            for node, earlier in self._node_seconds.items():
                there = found.get(node, {})
                found[node] = {what: seconds + there.get(what, 0.0) for what, seconds in earlier.items()}
            self.study.set_user_attr(attr.NODE_SECONDS, found)
        self._noted = time.monotonic()

    def _note_wall_time(self) -> None:
        self.study.set_user_attr(attr.WALL_SECONDS, self._earlier + time.monotonic() - self._started)

    def _show_end(self, trial: optuna.Trial) -> None:
        self._note_wall_time()
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self._note_node_time()
        now = trial.storage.get_trial(optuna_private.trial_id(trial))
        self.live.trial_ended(now, self.study.get_trials(deepcopy=False))
        self.saw(trial)


def _run_here(search: _Search, features: Features) -> None:
    """Run one trial after the other in this process."""
    while search.wants_another():
        trial = search.begin()
        try:
            value = objective(trial, search.spec, features, search.live, saw=search.saw)
            search.end(trial, value=value)
        except optuna.TrialPruned:
            search.end(trial)
        except FitError as error:
            search.end(trial, failure=Reason.of_text(str(error)))
        except Exception as error:
            search.end(trial, failure=Reason.of_bug(error))
            raise


def _run_in_pool(search: _Search, features: Features, pool: Pool, trial_timeout: TrialTimeout) -> None:
    """Run trials in workers, which fit, while this process alone uses the database."""
    under_way: _UnderWay = {}
    num_layers = features.encoder.num_layers
    search.works_with(pool)
    with pool:

        def begin(num_under_way: int) -> int | None:
            if not search.wants_another(num_under_way):
                return None
            trial = search.begin()
            attempt = Attempt(trial, search.spec, search.live, features=features, saw=search.saw)
            under_way[trial.number] = trial, attempt
            pool.begin(trial.number, attempt.config, to_beat=attempt.to_beat)
            search.watch_draw(num_workers=len(under_way))
            return trial.number

        @held_back()
        def note_place(number: int) -> None:
            place = pool.place(number)
            if place is not None:
                under_way[number][0].set_user_attr(attr.PLACE, asdict(place))

        def goes_on(number: int, news: Evaluation | FoldResult) -> bool:
            trial, attempt = under_way[number]
            try:
                attempt.told(news)
            except optuna.TrialPruned:
                note_place(number)
                search.end(trial)
                del under_way[number]
                return False
            return True

        def watch() -> None:  # one has begun, or has ended, and with it more is known
            search.watch(pool, under_way, num_layers=num_layers, timeout=trial_timeout)

        for number, news in drive(pool, begin, goes_on=goes_on, watch=watch):
            note_place(number)
            _end(search, *under_way.pop(number), news)


def _end(search: _Search, trial: optuna.Trial, attempt: Attempt, news: Ended) -> None:
    """Take the last news of a trial's worker."""
    match news:
        case Fitted(figures):
            search.end(trial, value=attempt.fitted(figures))
        case Failure(reason):
            search.end(trial, failure=reason)
            news.raise_bug()
        case Death() | Lost():
            search.killed(trial, news)
        case Silence():
            search.end(trial, failure=news.reason)
