"""A test for each private part of Optuna that is used: what fails here says what would break."""

import logging

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import select

from search.storage import database_of, optuna_private
from search.storage.database import connect


@pytest.fixture
def study(tmp_path):
    made = optuna.create_study(storage=connect(f"sqlite:///{tmp_path / 'study.db'}"), study_name="toy")
    yield made
    database_of(made).engine.dispose()


def test_a_study_tells_the_storage_in_which_its_attributes_are_written(study):
    optuna_private.storage_of(study).set_study_user_attr(optuna_private.study_id(study), "key", 1)
    assert study.user_attrs == {"key": 1}


def test_below_the_cache_is_the_storage_that_was_given(study):
    cached = optuna_private.storage_of(study)
    below = optuna_private.uncached(cached)
    assert below is not cached
    assert isinstance(below, RDBStorage)
    assert optuna_private.uncached(below) is None


def test_the_id_of_a_trial_finds_it_under_way_and_ended(study):
    trial = study.ask()
    number = optuna_private.trial_id(trial)
    study.tell(trial, 1.0)
    assert optuna_private.trial_id(study.trials[0]) == number
    assert optuna_private.storage_of(study).get_trial(number).number == 0


def test_system_attributes_of_a_study_are_kept(study):
    optuna_private.set_system_attribute(study, "key", {"a": 1})
    assert optuna_private.system_attributes(study)["key"] == {"a": 1}


def test_a_system_attribute_is_a_row_with_its_value_as_json(study):
    optuna_private.set_system_attribute(study, "key", {"a": 1})
    row = optuna_private.SystemAttributeRow
    own = (row.study_id == optuna_private.study_id(study)) & (row.key == "key")
    with database_of(study).engine.connect() as connection:
        assert connection.scalar(select(row.value_json).where(own)) == '{"a": 1}'


def test_a_trial_is_a_row_with_its_id_and_its_studys(study):
    trial = study.ask()
    row = optuna_private.TrialRow
    with database_of(study).engine.connect() as connection:
        found = connection.execute(select(row.trial_id, row.study_id)).one()
    assert tuple(found) == (optuna_private.trial_id(trial), optuna_private.study_id(study))


def test_every_new_trial_passes_through_the_hooks(tmp_path):
    seen = []

    class Hooked(optuna_private.HookedStorage):
        def create_trial(self, study_id, template):
            seen.append("create")
            return super().create_trial(study_id, template)

        def insert_trial(self, study_id, template, session):
            row = super().insert_trial(study_id, template, session)
            session.flush()
            seen.append(("insert", self.trial_in(row).state))
            return row

    storage = Hooked(f"sqlite:///{tmp_path / 'study.db'}")
    optuna.create_study(storage=storage).ask()
    storage.engine.dispose()
    assert seen == ["create", ("insert", TrialState.RUNNING)]


@pytest.mark.parametrize("name", optuna_private.REPEATABLE)
def test_what_is_called_again_after_an_absence_is_a_method_of_optunas_storage(name):
    assert callable(getattr(RDBStorage, name))


def test_the_storage_warns_by_the_logger_that_is_silenced():
    logger = logging.getLogger(optuna_private.STORAGE_LOGGER)
    assert logger is optuna.storages._rdb.storage._logger


def test_an_enqueued_trial_keeps_its_settings_as_fixed_ones(study):
    study.enqueue_trial({"x": 1})
    assert study.trials[0].system_attrs[optuna_private.FIXED_PARAMS] == {"x": 1}


def test_a_sampler_sees_of_a_study_only_the_trials_of_a_view(study):
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for value in range(3):
        study.tell(study.ask(space), value)
    study.ask()
    running = study.trials[-1]
    asked = []

    def trials(states):
        asked.append(states)
        return study.get_trials(states=states)[:1]

    view = optuna_private.seen_as(study, trials)
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    drawn = sampler.sample_relative(view, running, space)
    assert asked == [(TrialState.COMPLETE, TrialState.PRUNED)]
    assert drawn == {}  # one is fewer than two
    assert sampler.sample_relative(study, running, space) != {}
    assert [t.number for t in view.trials] == [0]
    assert [t.number for t in study.trials] == [0, 1, 2, 3]


def test_tpe_takes_a_tenth_for_good_and_25_at_most():
    assert [optuna_private.num_good(n) for n in (10, 50, 250, 1000)] == [1, 5, 25, 25]


def test_a_sobol_point_is_that_of_its_place_and_leaves_no_count(study):
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    draws = []
    for place in (0, 1, 2, 1):
        study.sampler = optuna_private.SobolPoint(place, space=space, seed=3)
        draws.append(study.ask(space).params["x"])
    assert draws[3] == draws[1]
    assert len(set(draws)) == 3
    assert optuna_private.system_attributes(study) == {}
