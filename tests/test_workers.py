import time

import optuna
import pytest

import search.workers
from search.results import finished
from search.space import recipe_params, suggest
from search.spec import StudySpec
from search.storage import recover
from search.workers import number_of_workers, run_trials
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

    def trial_ended(self, trial, _trials):
        self.ended.append((trial.number, trial.state.name))


class FakeObjective:
    """Scores parameters in no time; ``plan`` says at which call what is raised instead."""

    def __init__(self, plan=None):
        self.plan = plan or {}
        self.calls = 0

    def __call__(self, trial, spec, _features, _live):
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

    def run(study, num_trials, *, plan=None, spec=SPEC, live=None, deadline=None):
        fake = FakeObjective(plan)
        monkeypatch.setattr(search.workers, "objective", fake)
        times = {"started": time.monotonic(), "deadline": deadline}
        run_trials(study, spec, None, live or QuietLive(), num_trials=num_trials, **times)
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
    monkeypatch.setattr("search.workers.joblib.cpu_count", lambda **_: cores)
    assert number_of_workers(wanted, threads=threads, trials_left=left) == number


def test_a_gpu_has_one_worker_unless_more_are_asked_for():
    assert number_of_workers("auto", threads=1, trials_left=50, device="cuda") == 1
    assert number_of_workers(3, threads=1, trials_left=50, device="cuda") == 3


def test_pruned_trials_count(search_on):
    study = make_study()
    search_on(study, 3, plan={1: optuna.TrialPruned("rung")})
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]


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
        patch.setattr(search.workers, "recover", lambda *_, **__: None)  # a killed process mends nothing
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
