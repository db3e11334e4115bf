import time

import optuna
import pytest
from faults import Faults
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy import event

from search.storage import Lease, LeaseLostError, Mirror, database_of, optuna_private, together
from search.storage.database import connect


def open_again(study):
    """The same study by another connection, as another process would open it."""
    url = database_of(study).engine.url.render_as_string(hide_password=False)
    return optuna.load_study(storage=connect(url), study_name="toy")


@pytest.fixture(params=["sqlite", "postgresql"])
def study(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = optuna.create_study(storage=Mirror(connect(url)), study_name="toy", direction="maximize")
    yield made
    database_of(made).engine.dispose()


@pytest.fixture
def count(study):
    """A function: count commits and statements of a call."""

    def counted(call):
        seen = {"commits": 0, "statements": 0}
        engine = database_of(study).engine

        def commit(_):
            seen["commits"] += 1

        def statement(*_):
            seen["statements"] += 1

        event.listen(engine, "commit", commit)
        event.listen(engine, "before_cursor_execute", statement)
        call()
        event.remove(engine, "commit", commit)
        event.remove(engine, "before_cursor_execute", statement)
        return seen

    return counted


def suggest(trial):
    trial.suggest_float("rate", 1e-5, 1e-3, log=True)
    trial.suggest_int("depth", 0, 6)
    trial.suggest_categorical("width", [None, 8, "wide", True])


def note(trial):
    trial.set_user_attr("nested", {"a": [1, 2.5, None], "b": (1, 2), "c": float("inf")})
    trial.set_user_attr("nested", {"a": [1, 2.5, None], "b": (3,)})
    trial.set_constraint("over", -0.1)
    trial.report(0.5, 250)
    trial.report(float("inf"), 500)


def work(study):
    """Leave a trial of every state, some of their writes made together."""
    for number in range(4):
        trial = study.ask()
        if number % 2:
            with together(study):
                suggest(trial)
                note(trial)
        else:
            suggest(trial)
            note(trial)
        if number < 3:
            state = (None, TrialState.PRUNED, TrialState.FAIL)[number]
            study.tell(trial, 0.1 + 0.2 if state is None else None, state=state)
    study.enqueue_trial({"depth": 2}, user_attrs={"recipe": "probe"})


def parts(trial):
    names = (
        "number",
        "state",
        "values",
        "params",
        "distributions",
        "user_attrs",
        "system_attrs",
        "intermediate_values",
    )
    return {
        name: getattr(trial, name) for name in (*names, "datetime_start", "datetime_complete", "constraints")
    }


def assert_same(study):
    found, wanted = study.get_trials(deepcopy=False), open_again(study).trials
    assert [parts(t) for t in found] == [parts(t) for t in wanted]


def test_memory_is_what_the_database_has_while_the_lease_is_held_and_after(study):
    study.tell(study.ask(), 0.5)
    with Lease(study):
        work(study)
        assert_same(study)
        work(study)
        assert_same(study)
    assert_same(study)
    other = open_again(study)
    trial = next(t for t in other.trials if t.state == TrialState.RUNNING)
    other.tell(trial.number, 0.7)
    other.enqueue_trial({"depth": 1})
    assert_same(study)


def test_writes_made_together_are_the_same_as_one_by_one(study):
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    with Lease(study):
        for alone in (True, False):
            trial = study.ask({"rate": FloatDistribution(0.1, 0.1), "width": CategoricalDistribution([8])})
            if alone:
                note(trial)
            else:
                with together(study):
                    note(trial)
    one, other = (parts(t) for t in open_again(study).trials)
    kept = ("user_attrs", "system_attrs", "intermediate_values", "constraints", "params")
    assert {k: one[k] for k in kept} == {k: other[k] for k in kept}
    assert list(one["user_attrs"]) == list(other["user_attrs"])


def test_writes_made_together_are_one_transaction(study, count):
    with Lease(study):
        suggest(study.ask())  # with the first trial the study learns its distributions
        trial = study.ask()

        def write():
            with together(study):
                suggest(trial)
                note(trial)

        assert count(write)["commits"] == 1


def test_without_the_lease_each_write_is_there_at_once(study):
    trial = study.ask()
    with together(study):
        trial.set_user_attr("key", 1)
        assert open_again(study).trials[0].user_attrs == {"key": 1}


def test_reads_under_the_lease_do_not_ask_the_database(study, count):
    with Lease(study):
        trials = [study.ask() for _ in range(5)]
        seen = count(lambda: [study.get_trials(deepcopy=False), study.trials, trials[0].user_attrs])
        assert seen["statements"] == 0


def test_what_another_process_enqueues_is_found_by_the_next_ask(study):
    with Lease(study):
        study.tell(study.ask(), 0.5)
        open_again(study).enqueue_trial({"depth": 5})
        trial = study.ask()
        assert trial.number == 1
        assert trial.suggest_int("depth", 0, 6) == 5
        open_again(study).enqueue_trial({"depth": 6})
        study.enqueue_trial({"depth": 4})
        assert [study.ask().suggest_int("depth", 0, 6) for _ in range(2)] == [6, 4]
        assert_same(study)


def test_a_trial_in_hand_stays_as_it_was(study):
    with Lease(study):
        trial = study.ask()
        before = study.get_trials(deepcopy=False)[0]
        trial.set_user_attr("key", 1)
        trial.report(0.5, 1)
        assert (before.user_attrs, before.intermediate_values) == ({}, {})
        own = trial.storage.get_trial(optuna_private.trial_id(trial))
        own.user_attrs["other"] = 2
        assert study.get_trials(deepcopy=False)[0].user_attrs == {"key": 1}


def test_another_distribution_is_refused_before_anything_is_written(study):
    with Lease(study):
        study.ask({"depth": IntDistribution(0, 6)})
        trial = study.ask()
        with together(study), pytest.raises(ValueError, match="distribution"):
            trial.suggest_float("depth", 0, 1)
        assert_same(study)


def test_a_write_that_fails_is_no_longer_in_memory_once_the_lease_is_given_back(study, monkeypatch):
    with Lease(study):
        trial = study.ask()

        def lose(_):
            raise RuntimeError("lost")

        monkeypatch.setattr(database_of(study), "write", lose)
        with pytest.raises(RuntimeError, match="lost"), together(study):
            trial.set_user_attr("key", 1)
    assert study.trials[0].user_attrs == {}
    assert_same(study)


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_connection_lost_while_writing_together_loses_nothing_and_writes_nothing_twice(
    study, fault, monkeypatch
):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Lease(study):
        suggest(study.ask())
        trial = study.ask()
        faults = Faults(database_of(study))
        faults.plan = [fault]
        with together(study):
            suggest(trial)
            note(trial)
        assert faults.plan == []
        assert study.get_trials(deepcopy=False)[1].params.keys() == {"rate", "depth", "width"}
        assert_same(study)


def test_a_search_that_lost_its_lease_writes_nothing_together(study):
    with Lease(study):
        trial = study.ask()

        def lost(_):
            raise LeaseLostError("taken over")

        database_of(study).fence = lost
        with pytest.raises(LeaseLostError), together(study):
            note(trial)
    assert open_again(study).trials[0].user_attrs == {}
