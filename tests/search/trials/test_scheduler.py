import time
from types import SimpleNamespace

import optuna
import pytest

import search.trials.scheduler
from search.study.results import finished
from search.study.retries import recover
from search.study.space import recipe_params, suggest
from search.study.spec import StudySpec
from search.trials.news import Death, Fitted, Lost, Silence
from search.trials.scheduler import number_of_workers, run_trials
from trainers.errors import FitError

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "seed": 4,
        "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
        "fit": {
            "freeze_depth": {"low": 0, "high": 2},
            "dropout": {"low": 0.0, "high": 0.5},
            "head_width": [8, 16],
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "patience": {"low": 1, "high": 4},
        },
    }
)


class QuietLive:
    def __init__(self):
        self.ended = []
        self.said = []

    def trial_ended(self, trial, _trials):
        self.ended.append((trial.number, trial.state.name))

    def trial_started(self, number, config):
        pass

    def message(self, text):
        self.said.append(text)


class FakeObjective:
    """Scores parameters in no time; ``plan`` says at which call what is raised instead."""

    def __init__(self, plan=None):
        self.plan = plan or {}
        self.calls = 0

    def __call__(self, trial, spec, _features, _live, **_):
        config = suggest(trial, spec, num_layers=2)
        self.calls += 1
        if self.calls - 1 in self.plan:
            raise self.plan[self.calls - 1]
        # Some are over the ceiling, so that the sampler has feasible and other trials to tell apart.
        trial.set_constraint("over", config.dropout - 0.4)
        trial.set_user_attr("seed", config.seed)
        return 1 - abs(config.dropout - 0.3) - abs(config.freeze_depth - 1) / 10


def make_study():
    return optuna.create_study(direction="maximize")


@pytest.fixture
def search_on(monkeypatch):
    """A function: search ``study`` with a fake objective, which it returns."""

    def run(study, num_trials, *, plan=None, spec=SPEC, live=None, deadline=None, noticeable=None):
        fake = FakeObjective(plan)
        monkeypatch.setattr(search.trials.scheduler, "objective", fake)
        times = {"started": time.monotonic(), "deadline": deadline}
        options = {**times, "noticeable": noticeable}
        run_trials(study, spec, None, live or QuietLive(), num_trials=num_trials, **options)
        return fake

    return run


def states(study):
    return [t.state.name for t in study.trials]


def sampled(study):
    return [t.params for t in finished(study.trials)]


def seeds(study):
    return [t.user_attrs["seed"] for t in finished(study.trials)]


def test_study_gets_exactly_the_trials_asked_for(search_on):
    study = make_study()
    assert search_on(study, 5).calls == 5
    assert states(study) == ["COMPLETE"] * 5


def test_continued_study_gets_only_what_is_missing(search_on):
    study = make_study()
    search_on(study, 3)
    assert search_on(study, 5).calls == 2
    assert search_on(study, 5).calls == 0
    assert search_on(study, 2).calls == 0
    assert len(study.trials) == 5


@pytest.mark.parametrize(
    ("wanted", "cores", "threads", "left", "number"),
    [
        ("auto", 8, 1, 50, 8),
        ("auto", 8, 3, 50, 2),
        ("auto", 2, 4, 50, 1),
        ("auto", 8, 1, 3, 3),
        (5, 2, 1, 50, 5),
        (5, 2, 1, 2, 2),
    ],
)
def test_number_of_workers(monkeypatch, wanted, cores, threads, left, number):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: cores)
    assert number_of_workers(wanted, threads=threads, trials_left=left) == number


@pytest.mark.parametrize(
    ("cores", "trials", "number"),
    [(64, 100, 20), (64, 50, 10), (8, 50, 8), (64, 20, 4), (64, 11, 2), (64, 10, 10), (4, 10, 4)],
)
def test_the_sampler_gets_five_trials_a_worker_to_learn_from(monkeypatch, cores, trials, number):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: cores)
    said = []
    options = {"threads": 1, "trials_left": trials, "num_trials": trials, "tell": said.append}
    assert number_of_workers("auto", **options) == number
    assert number_of_workers(cores, **options) == min(cores, trials)
    if number < min(cores, trials):
        assert said == [
            f"{number} workers, though there are cores for {cores}: with more than one for every 5 trials the sampler "
            "would learn too little from each; --workers sets another number"
        ]
    else:
        assert said == []


@pytest.mark.parametrize(("gib", "number"), [(40, 8), (7.5, 6), (2.5, 2), (2.4, 1), (0, 1)])
def test_workers_fit_into_the_memory_that_is_available(monkeypatch, gib, number):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: 8)
    monkeypatch.setattr("search.trials.scheduler.available_bytes", lambda: int(gib * 2**30))
    said = []
    options = {"threads": 1, "trials_left": 50, "worker_bytes": lambda: 2**30, "tell": said.append}
    assert number_of_workers("auto", **options) == number
    assert number_of_workers(8, **options) == 8
    if number < 8:
        assert said == [
            f"{number} worker{'s' * (number > 1)}, though there are cores for 8: a fit takes up to 1 GiB here, and "
            f"{gib:g} GiB are available; --workers sets another number"
        ]
    else:
        assert said == []


def test_a_fit_that_is_killed_while_its_memory_is_measured_leaves_one_worker(monkeypatch):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: 8)
    said = []

    def measure():
        raise FitError("a first fit, to measure its memory, failed: killed for lack of memory")

    options = {"threads": 1, "trials_left": 50, "worker_bytes": measure, "tell": said.append}
    assert number_of_workers("auto", **options) == 1
    assert said == ["one worker: a first fit, to measure its memory, failed: killed for lack of memory"]


@pytest.mark.parametrize(("gib", "measured"), [(40, []), (39, [1])])
def test_memory_is_not_measured_where_there_is_room_for_more_than_it_can_be(monkeypatch, gib, measured):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: 8)
    monkeypatch.setattr("search.trials.scheduler.available_bytes", lambda: gib * 2**30)
    calls = []
    options = {"worker_bytes": lambda: calls.append(1) or 2**30, "most_bytes": lambda: 4 * 2**30}
    assert number_of_workers("auto", threads=1, trials_left=50, **options) == 8
    assert calls == measured


def test_memory_is_not_measured_for_one_worker(monkeypatch):
    monkeypatch.setattr("search.trials.scheduler.joblib.cpu_count", lambda **_: 8)
    for options in ({"trials_left": 1}, {"trials_left": 50, "device": "cuda:1"}):
        assert number_of_workers("auto", threads=1, worker_bytes=None, **options) == 1


class FakeCrew:
    """Processes whose fits end as ``plan`` says, one after the other; ``patience`` is what each may be silent."""

    def __init__(self, plan):
        self.plan = list(plan)
        self.patience = {}
        self.under_way = []
        self.spent = {}

    def __call__(self, _features, *, size, peeks):  # noqa: ARG002
        self.size = size
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def has_room(self):
        return len(self.under_way) < self.size

    def begin(self, job, _config, *, to_beat=None):  # noqa: ARG002
        self.under_way.append(job)

    def place(self, job):
        assert job not in self.under_way

    def node_seconds(self):
        return self.spent

    def end_if_silent(self, job, *, seconds):
        assert job in self.under_way
        self.patience.setdefault(job, []).append(seconds)

    def news(self):
        job = self.under_way.pop(0)
        news = self.plan.pop(0) if self.plan else Fitted(FIGURES)
        if isinstance(news, Death) and news.num_left is not None:
            self.size = news.num_left
        yield job, news


FIGURES = {
    "stopped": "epochs",
    "validation_accuracy": 0.8,
    "validation_loss": 0.5,
    "training_accuracy": 0.9,
    "training_exact": True,
    "best_epoch": 1.0,
    "epochs": 1,
}
FIGURES |= dict.fromkeys(("seconds", "training_seconds", "evaluation_seconds", "batching_seconds"), 40.0)
FIGURES |= {"stages": [], "tokens": 1, "flops": 1.0, "memory_bytes": 1}


@pytest.fixture
def search_with(monkeypatch):
    """A function: search a new study with a crew whose fits end as planned; returns the study, the crew, what was said."""

    def run(
        plan,
        *,
        num_trials=4,
        num_workers=2,
        trial_timeout="auto",
        recipes=(),
        noticeable=None,
        study=None,
        spent=None,
    ):
        study, live, crew = study or make_study(), QuietLive(), FakeCrew(plan)
        crew.spent = spent or {}
        for name in recipes:
            study.enqueue_trial(recipe_params(name, SPEC, num_layers=2), user_attrs={"recipe": name})
        monkeypatch.setattr(search.trials.scheduler, "Crew", crew)
        features = SimpleNamespace(
            encoder=SimpleNamespace(num_layers=2, revision=None, device="cpu"), precision="float32"
        )
        options = {"num_workers": num_workers, "trial_timeout": trial_timeout, "noticeable": noticeable}
        times = {"started": time.monotonic(), "deadline": None}
        run_trials(study, SPEC, features, live, num_trials=num_trials, **times, **options)
        return study, crew, live.said

    return run


def reasons(study):
    return [t.user_attrs["reason"] for t in study.trials if t.state.name == "FAIL"]


def test_what_nodes_spent_their_time_on_is_added_up_over_starts(search_with):
    study, _, _ = search_with([], spent={"alpha": {"fitting": 3.0, "waiting": 1.0}})
    assert study.user_attrs["node_seconds"] == {"alpha": {"fitting": 3.0, "waiting": 1.0}}
    new = {"alpha": {"fitting": 2.0, "waiting": 0.5}, "beta": {"fitting": 1.0, "waiting": 0.0}}
    search_with([], num_trials=6, study=study, spent=new)
    assert study.user_attrs["node_seconds"] == new | {"alpha": {"fitting": 5.0, "waiting": 1.5}}


def test_a_search_on_one_machine_notes_no_nodes(search_with):
    assert "node_seconds" not in search_with([])[0].user_attrs


def test_a_fit_that_says_nothing_counts_as_failed_and_is_not_repeated(search_with):
    study, _, _ = search_with([Silence(12.3)])
    assert states(study) == ["FAIL", *["COMPLETE"] * 3]
    assert reasons(study) == ["timed out: no news for 12 s"]


def test_every_fit_may_say_nothing(search_with):
    study, _, _ = search_with([Silence(12.3)] * 4)
    assert states(study) == ["FAIL"] * 4


def test_seconds_given_hold_for_every_fit_recipes_too(search_with):
    _, crew, _ = search_with([], trial_timeout=5.0, recipes=["frozen-head"])
    assert {s for patience in crew.patience.values() for s in patience} == {5.0}


def test_the_last_fits_are_watched_by_what_the_others_have_told_by_then(search_with, monkeypatch):
    def patience(_wanted, silences, **_):
        return 100.0 * silences._num_seen - len(silences._seen)

    monkeypatch.setattr(search.trials.scheduler, "patience_after", patience)
    _, crew, _ = search_with([], num_trials=2)
    assert crew.patience == {0: [198.0], 1: [198.0, 199.0]}


def test_a_pool_is_told_of_a_patience_once(search_with):
    _, crew, _ = search_with([], num_trials=6, num_workers=3, trial_timeout=5.0)
    assert crew.patience == {number: [5.0] for number in range(6)}


def test_one_worker_gets_a_process_only_if_seconds_are_given(search_with, monkeypatch):
    monkeypatch.setattr(search.trials.scheduler, "objective", FakeObjective())
    for timeout, is_watched in (("auto", False), ("none", False), (5.0, True)):
        _, crew, _ = search_with([], num_workers=1, trial_timeout=timeout)
        assert bool(crew.patience) == is_watched


def test_recipes_may_be_silent_for_ever_unless_seconds_are_given(search_with):
    _, crew, _ = search_with([], recipes=["frozen-head", "thaw-top"])
    assert set(crew.patience[0] + crew.patience[1]) == {None}


def test_the_trials_of_a_lost_node_are_repeated_twice_at_most(search_with):
    study, _, _ = search_with([Lost("beta")] * 3, num_trials=1)
    assert states(study) == ["FAIL"] * 3
    assert reasons(study) == ["node lost: beta"] * 3
    study, _, _ = search_with([Lost("beta")] * 2, num_trials=1)
    assert states(study) == ["FAIL", "FAIL", "COMPLETE"]


def test_a_lost_node_does_not_count_towards_giving_a_setup_up(search_with):
    study, _, _ = search_with([Death(-9), Lost("beta"), Death(-9), Lost("beta")], num_trials=1)
    assert states(study) == [*["FAIL"] * 4, "COMPLETE"]


def test_what_was_killed_for_memory_is_told_and_the_search_goes_on_with_fewer(search_with):
    study, crew, said = search_with([Death(-9, "for lack of memory", num_left=1)])
    assert crew.size == 1
    assert reasons(study) == ["killed for lack of memory, beside other fits"]
    assert said == [
        "the system killed a worker for lack of memory; 1 left: to give each fit more room, lower --workers, "
        "fit.batch_size or data.max_length"
    ]
    assert len(finished(study.trials)) == 4


def test_a_setup_that_others_left_no_memory_is_repeated_until_it_is_alone(search_with):
    deaths = [Death(-9, "for lack of memory, it seems", num_left=n) for n in range(7, 0, -1)]
    study, _, _ = search_with(deaths, num_workers=8, num_trials=1)
    assert states(study) == ["FAIL"] * 7 + ["COMPLETE"]
    study, _, said = search_with([Death(-9, "for lack of memory")] * 9, num_workers=2, num_trials=1)
    assert states(study) == ["FAIL"] * 3
    assert reasons(study) == ["killed for lack of memory"] * 3
    assert said == []


def test_a_worker_that_was_killed_by_who_knows_whom_is_said_to_be_killed(search_with):
    study, _, said = search_with([Death(-9)])
    assert reasons(study) == ["killed"]
    assert said == []


def test_a_gpu_has_one_worker_unless_more_are_asked_for():
    assert number_of_workers("auto", threads=1, trials_left=50, device="cuda") == 1
    assert number_of_workers(3, threads=1, trials_left=50, device="cuda") == 3


@pytest.mark.parametrize(
    ("wanted", "device", "left", "number"),
    [("auto", "cuda", 50, 4), ("auto", "cuda", 3, 3), (6, "cuda", 50, 6), ("auto", "cuda:1", 50, 1)],
)
def test_each_cuda_device_has_a_worker(monkeypatch, wanted, device, left, number):
    monkeypatch.setattr("search.trials.scheduler.cuda_devices", lambda: ("0", "1", "2", "3"))
    options = {"threads": 1, "trials_left": left, "device": device, "worker_bytes": pytest.fail}
    assert number_of_workers(wanted, **options) == number


def test_the_sampler_gets_five_trials_a_gpu_to_learn_from(monkeypatch):
    monkeypatch.setattr("search.trials.scheduler.cuda_devices", lambda: ("0", "1", "2", "3"))
    said = []
    options = {"threads": 1, "trials_left": 15, "num_trials": 15, "device": "cuda", "tell": said.append}
    assert number_of_workers("auto", **options) == 3
    assert said[0].startswith("3 workers, though there are 4 GPUs: with more than one for every 5 trials")


def test_pruned_trials_count(search_on):
    study = make_study()
    search_on(study, 3, plan={1: optuna.TrialPruned("rung")})
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_flat_search_begins_no_more_trials_and_says_so_again(search_on):
    study = make_study()
    assert search_on(study, 50, noticeable=1.0).calls == 10
    assert search_on(study, 50, noticeable=1.0).calls == 0


def test_a_flat_search_goes_on_to_its_trials_if_it_is_not_to_stop(search_on):
    study = make_study()
    search_on(study, 50, noticeable=1.0)
    assert search_on(study, 15).calls == 5


def test_a_search_that_may_still_gain_goes_on_to_its_trials(search_on):
    study = make_study()
    assert search_on(study, 15, noticeable=1e-6).calls == 15


def test_a_flat_search_of_several_workers_ends_what_it_has_begun(search_with):
    study, _, _ = search_with([], num_trials=50, num_workers=3, noticeable=1.0)
    assert states(study) == ["COMPLETE"] * 12  # ten must have ended, and two were beside the tenth


def test_no_recipe_is_left_out_because_a_search_is_flat(search_on):
    study = make_study()
    search_on(study, 50, noticeable=1.0)
    study.enqueue_trial({}, user_attrs={"recipe": "frozen-head"})
    assert search_on(study, 50, noticeable=1.0).calls == 1
    assert study.trials[-1].user_attrs["recipe"] == "frozen-head"


def test_enqueued_recipes_come_first_and_count(search_on):
    study = make_study()
    study.enqueue_trial(
        recipe_params("frozen-head", SPEC, num_layers=2), user_attrs={"recipe": "frozen-head"}
    )
    search_on(study, 2)
    assert [t.user_attrs.get("recipe") for t in study.trials] == ["frozen-head", None]


def test_interruption_fails_the_trial_enqueues_it_again_and_is_not_counted(search_on):
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 5, plan={2: KeyboardInterrupt()})
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    assert study.trials[2].user_attrs["reason"] == "interrupted"
    assert study.trials[3].user_attrs == {"retry_of": 2}
    assert len(finished(study.trials)) == 2


def test_interrupted_trial_is_repeated_with_its_parameters(search_on):
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 5, plan={2: KeyboardInterrupt()})
    search_on(study, 5)
    assert len(finished(study.trials)) == 5
    assert study.trials[3].params == study.trials[2].params
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", *["COMPLETE"] * 3]


def test_interruption_while_a_trial_is_handed_out_leaves_nothing_running(search_on, monkeypatch):
    study = make_study()
    ask = study.ask

    def interrupted_ask():
        ask()
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "ask", interrupted_ask)
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 2)
    assert states(study) == ["FAIL", "WAITING"]


def test_interruption_after_a_trial_has_ended_leaves_its_result(search_on, monkeypatch):
    study = make_study()
    tell = study.tell

    def interrupted_tell(*arguments, **options):
        tell(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "tell", interrupted_tell)
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 2)
    assert states(study) == ["COMPLETE"]


def test_interruption_of_a_recipe_keeps_the_recipe(search_on):
    study = make_study()
    study.enqueue_trial({}, user_attrs={"recipe": "frozen-head"})
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 2, plan={0: KeyboardInterrupt()})
    assert study.trials[1].user_attrs["recipe"] == "frozen-head"


def test_user_may_interrupt_the_same_trial_any_number_of_times(search_on):
    study = make_study()
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            search_on(study, 1, plan={0: KeyboardInterrupt()})
    search_on(study, 1)
    assert states(study) == ["FAIL"] * 6 + ["COMPLETE"]


@pytest.mark.parametrize("cut_at", [0, 1, 12, 17])
def test_interrupted_and_continued_study_samples_what_an_uninterrupted_one_does(search_on, cut_at):
    whole, cut = make_study(), make_study()
    search_on(whole, 20)
    with pytest.raises(KeyboardInterrupt):
        search_on(cut, 20, plan={cut_at: KeyboardInterrupt()})
    search_on(cut, 20)
    assert sampled(cut) == sampled(whole)
    assert seeds(cut) == seeds(whole)


def test_killed_and_continued_study_samples_what_an_uninterrupted_one_does(search_on, monkeypatch):
    whole, cut = make_study(), make_study()
    search_on(whole, 14)
    with monkeypatch.context() as patch:
        patch.setattr(
            search.trials.scheduler, "recover", lambda *_, **__: None
        )  # a killed process mends nothing
        with pytest.raises(KeyboardInterrupt):
            search_on(cut, 14, plan={11: KeyboardInterrupt()})
    assert states(cut)[-1] == "RUNNING"
    assert recover(cut) == 1
    search_on(cut, 14)
    assert sampled(cut) == sampled(whole)
    assert seeds(cut) == seeds(whole)


def test_trial_killed_before_it_had_parameters_is_drawn_as_if_nothing_had_happened(search_on):
    whole, cut = make_study(), make_study()
    search_on(whole, 4)
    search_on(cut, 1)
    cut.ask()
    assert recover(cut) == 1
    search_on(cut, 4)
    assert states(cut) == ["COMPLETE", "FAIL", *["COMPLETE"] * 3]
    assert sampled(cut) == sampled(whole)
    assert seeds(cut) == seeds(whole)


def test_study_continued_between_trials_samples_what_an_uninterrupted_one_does(search_on):
    whole, cut = make_study(), make_study()
    search_on(whole, 16)
    for total in (3, 12, 16):
        search_on(cut, total)
    assert sampled(cut) == sampled(whole)


def test_same_seed_gives_the_same_study(search_on):
    first, second = make_study(), make_study()
    search_on(first, 15)
    search_on(second, 15)
    assert [(t.params, t.value) for t in first.trials] == [(t.params, t.value) for t in second.trials]


def test_another_seed_gives_another_study(search_on):
    first, second = make_study(), make_study()
    search_on(first, 3)
    search_on(second, 3, spec=SPEC.model_copy(update={"seed": 5}))
    assert sampled(first) != sampled(second)


def test_trials_of_a_study_differ(search_on):
    study = make_study()
    search_on(study, 10)
    assert len({tuple(p.values()) for p in sampled(study)}) == 10


def test_named_failure_counts_with_its_reason_and_the_study_goes_on(search_on):
    study = make_study()
    search_on(study, 3, plan={1: FitError("out of memory")})
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[1].user_attrs["reason"] == "out of memory"
    assert len(finished(study.trials)) == 3


def test_bug_fails_the_trial_and_stops_the_study(search_on):
    study = make_study()
    with pytest.raises(ZeroDivisionError):
        search_on(study, 3, plan={1: ZeroDivisionError("one by none")})
    assert states(study) == ["COMPLETE", "FAIL"]
    assert study.trials[1].user_attrs["reason"] == "bug: ZeroDivisionError: one by none"


def test_no_trial_begins_after_the_deadline(search_on):
    study = make_study()
    assert search_on(study, 3, deadline=time.monotonic() - 1).calls == 0


def test_wall_time_adds_up_over_all_starts(search_on):
    study = make_study()
    study.set_user_attr("wall_seconds", 100.0)
    search_on(study, 2)
    assert 100.0 < study.user_attrs["wall_seconds"] < 160.0


def test_wall_time_of_an_interrupted_search_counts(search_on):
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        search_on(study, 2, plan={0: KeyboardInterrupt()})
    assert study.user_attrs["wall_seconds"] > 0


def test_live_is_told_of_every_trial_that_counts(search_on):
    study, live = make_study(), QuietLive()
    search_on(study, 3, plan={1: FitError("out of memory"), 2: optuna.TrialPruned("rung")}, live=live)
    assert live.ended == [(0, "COMPLETE"), (1, "FAIL"), (2, "PRUNED")]
