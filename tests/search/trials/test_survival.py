"""Any order of asking, reporting, telling, dying, mending and resuming, on the real storage."""

import itertools
import shutil
import time
from unittest import mock

import optuna
import pytest
from faults import Faults, Killed
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from optuna.trial import TrialState

import search.storage.lease
from search.storage.database import Database, connect
from search.storage.lease import Lease, LeaseLostError, database_of
from search.study.endings import INTERRUPTED, KILLED, Reason
from search.study.results import finished
from search.study.retries import MAX_RETRIES, recover
from search.study.space import suggest
from search.study.spec import StudySpec
from search.trials.news import Death
from search.trials.scheduler import _Search

NUM_TRIALS = 4
SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
        "fit": {
            "freeze_depth": {"low": 0, "high": 2},
            "dropout": {"low": 0.0, "high": 0.5},
            "head_width": [8, 16],
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "patience": 2,
        },
    }
)
DEATHS = ("die before", "die after")
FAULTS = (None, "before", "after", *DEATHS)


def plans(commits, faults=FAULTS):
    """What goes wrong at one of the commits that a step takes, or of what comes next."""
    return st.builds(lambda n, fault: [None] * n + [fault], st.integers(0, commits), st.sampled_from(faults))


class QuietLive:
    def trial_ended(self, trial, trials):
        pass


class Launcher:
    """One start of a search, on a machine of its own, so that it can be replaced although it lives."""

    def __init__(self, url, machine, plan=()):
        database = connect(url)
        self.faults = Faults(database)
        self.study = optuna.load_study(storage=database, study_name="toy")
        self.under_way = []
        self.lease = Lease(self.study)
        self.faults.plan = list(plan)
        try:
            with mock.patch.object(search.storage.lease, "_place", return_value=machine):
                self.lease.__enter__()
            recover(self.study)
        except Killed:
            self.leave()
            raise
        times = {"started": time.monotonic(), "deadline": None}
        self.search = _Search(
            self.study, SPEC, QuietLive(), num_trials=NUM_TRIALS, saw=lambda _: None, **times
        )

    def ask(self):
        if self.search.wants_another(len(self.under_way)):
            trial = self.search.begin()
            self.under_way.append(trial)
            suggest(trial, SPEC, num_layers=2)

    def leave(self):
        """End thread and connections without giving the lease back, as death does."""
        self.faults.plan.clear()
        self.lease._ended.set()
        database_of(self.study).engine.dispose()


class Survival(RuleBasedStateMachine):
    """A study; ``new_url``, a method of subclasses, gives each example its own."""

    def __init__(self):
        super().__init__()
        self.url = self.new_url()
        self.machines = itertools.count()
        self.current = None
        self.lost = []
        self.reader = optuna.load_study(storage=Database(self.url), study_name="toy")
        self.told = {}
        self.steps = 0
        # What looks dead to another machine can be declared dead at once.
        self.patches = [
            mock.patch.object(search.storage.lease, "GRACE_SECONDS", -10.0),
            mock.patch.object(time, "sleep"),
        ]
        for patch in self.patches:
            patch.start()

    def teardown(self):
        try:
            self.finish()
        finally:
            for patch in self.patches:
                patch.stop()
            for launcher in [*self.lost, *([self.current] if self.current else [])]:
                launcher.leave()
            database_of(self.reader).engine.dispose()

    def act(self, action, plan=()):
        """Act for the search under way, which may be killed by it; what of a plan is left befalls what it does next."""
        try:
            self.current.faults.plan += plan
            action()
        except Killed:
            self.current.leave()
            self.current = None

    @precondition(lambda self: self.current is None)
    @rule(plan=plans(8, (None, *DEATHS)))  # a database that is away when a search begins is an error
    def resume(self, plan):
        try:
            self.current = Launcher(self.url, f"machine {next(self.machines)}", plan)
        except Killed:
            self.current = None

    @precondition(lambda self: self.current)
    @rule(plan=plans(8))
    def ask(self, plan):
        self.act(self.current.ask, plan)

    @precondition(lambda self: self.current and self.current.under_way)
    @rule(value=st.floats(0, 1))
    def report(self, value):
        self.steps += 1
        self.act(lambda: self.current.under_way[-1].report(value, self.steps))

    @precondition(lambda self: self.current and self.current.under_way)
    @rule(ending=st.sampled_from(["value", "pruned", "failed"]), first=st.booleans(), plan=plans(3))
    def tell(self, ending, first, plan):
        trial = self.current.under_way.pop(0 if first else -1)
        options = {
            "value": {"value": 0.5},
            "pruned": {},
            "failed": {"failure": Reason.of_text("out of memory")},
        }[ending]
        state = {"value": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[ending]

        def end():
            self.current.search.end(trial, **options)
            self.told[trial.number] = state

        self.act(end, plan)

    @precondition(lambda self: self.current and self.current.under_way)
    @rule(times=st.integers(1, MAX_RETRIES + 2), plan=plans(20))
    def worker_dies(self, times, plan):
        def die():
            for _ in range(times):
                if self.current.under_way:
                    self.current.search.killed(self.current.under_way.pop(), Death(-9))
                self.current.ask()

        self.act(die, plan)

    @precondition(lambda self: self.current)
    @rule()
    def kill(self):
        self.current.leave()
        self.current = None

    @precondition(lambda self: self.current)
    @rule()
    def interrupt(self):
        launcher = self.current

        def close():
            launcher.search.close(reason=INTERRUPTED)
            launcher.lease.__exit__()

        self.act(close)
        self.current = None

    @precondition(lambda self: self.current)
    @rule()
    def be_away_for_too_long(self):
        self.current.faults.plan.clear()
        self.lost.append(self.current)
        self.current = None

    @precondition(lambda self: self.current and self.lost)
    @rule()
    def come_back_too_late(self):
        launcher = self.lost.pop()
        for trial in launcher.under_way:
            with pytest.raises(LeaseLostError):
                trial.report(0.9, 0)
            with pytest.raises(
                (LeaseLostError, ValueError)
            ):  # of Optuna, which sees first that it was failed
                launcher.search.end(trial, value=1.0)
        with pytest.raises(LeaseLostError):
            launcher.search.begin()
        launcher.leave()

    @invariant()
    def numbers_count_from_zero(self):
        assert [t.number for t in self.trials()] == list(range(len(self.trials())))

    @invariant()
    def budget_is_never_exceeded(self):
        assert num_counted(self.trials()) <= NUM_TRIALS

    @invariant()
    def no_trial_is_repeated_twice(self):
        repeated = [t.user_attrs["retry_of"] for t in self.trials() if "retry_of" in t.user_attrs]
        assert len(repeated) == len(set(repeated))

    @invariant()
    def what_was_told_stays(self):
        states = {t.number: t.state.name for t in self.trials()}
        assert {n: states[n] for n in self.told} == self.told

    @invariant()
    def only_trials_under_way_are_running(self):
        if self.current and not any(self.current.faults.plan):
            running = {t.number for t in self.trials() if t.state == TrialState.RUNNING}
            assert running == {t.number for t in self.current.under_way}

    def trials(self):
        return self.reader.get_trials(deepcopy=False)

    def finish(self):
        """Resume until the search ends by itself."""
        if self.current is None:
            self.current = Launcher(self.url, f"machine {next(self.machines)}")
        self.current.faults.plan.clear()
        while self.current.under_way or self.current.search.wants_another():
            if not self.current.under_way:
                self.current.ask()
            self.current.search.end(self.current.under_way.pop(), value=0.5)
        self.current.search.close(reason=KILLED)
        trials = self.trials()
        assert num_counted(trials) == NUM_TRIALS == len(finished(trials))
        assert TrialState.RUNNING not in {t.state for t in trials}
        repeated = {t.user_attrs.get("retry_of") for t in trials}
        # Repeats carry the parameters of what they repeat, and killed setups are not repeated for ever.
        for trial in trials:
            if "retry_of" in trial.user_attrs:
                assert _setup(trial).items() >= _setup(trials[trial.user_attrs["retry_of"]]).items()
            assert _kills(trial, trials) <= MAX_RETRIES + 1
            # What was cut off is repeated, unless it was killed too often.
            if trial.user_attrs.get("reason") in ("killed", "interrupted"):
                assert trial.number in repeated or _kills(trial, trials) > MAX_RETRIES
        self.numbers_count_from_zero()
        self.no_trial_is_repeated_twice()
        self.what_was_told_stays()


def num_counted(trials):
    """How many trials have ended for good: for each first try, one, unless its last repeat is yet to end."""
    repeats = {t.user_attrs["retry_of"]: t for t in trials if "retry_of" in t.user_attrs}
    count = 0
    for trial in (t for t in trials if "retry_of" not in t.user_attrs):
        while trial.number in repeats:
            trial = repeats[trial.number]
        count += trial.state.is_finished()
    return count


def _setup(trial):
    """What a trial has of its parameters: it may be killed before it has drawn those that it was enqueued with."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _kills(trial, trials):
    """How often this setup was killed, up to this trial."""
    killed = trial.user_attrs.get("reason") == "killed"
    before = trial.user_attrs.get("retry_of")
    return killed + (0 if before is None else _kills(trials[before], trials))


def create_toy(url):
    study = optuna.create_study(storage=connect(url), study_name="toy", direction="maximize")
    database_of(study).engine.dispose()


def check(new_url, *, max_examples):
    machine = type("SurvivalHere", (Survival,), {"new_url": lambda _: new_url()})
    run_state_machine_as_test(machine, settings=settings(max_examples=max_examples, stateful_step_count=20))


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_whatever_dies(tmp_path, pytestconfig):
    create_toy(f"sqlite:///{tmp_path / 'template.db'}")
    numbers = itertools.count()

    def new_url():
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(tmp_path / "template.db", path)
        return f"sqlite:///{path}"

    check(new_url, max_examples=20 if pytestconfig.getoption("chaos") == "full" else 6)


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_on_postgresql(postgres_server, pytestconfig):
    template = postgres_server.create_database()
    create_toy(postgres_server.url(template))
    examples = 5 if pytestconfig.getoption("chaos") == "full" else 1
    check(lambda: postgres_server.url(postgres_server.create_database(template)), max_examples=examples)
