"""A test for each private part of optuna-dashboard that is used: what fails here says what would break."""

import json

import optuna
import optuna_dashboard
import pytest
from optuna.study import StudyDirection
from optuna.trial import create_trial

from search.dashboard import dashboard_private
from search.storage import optuna_private


@pytest.fixture
def study():
    made = optuna.create_study()
    made.add_trial(create_trial(value=1.0))
    return made


def artifacts_of(study, *, trial):
    from optuna_dashboard.artifact._backend import list_study_artifacts, list_trial_artifacts

    attributes = optuna_private.system_attributes(study)
    if not trial:
        return list_study_artifacts(attributes)
    return list_trial_artifacts(attributes, study.trials[0].system_attrs, study.trials[0])


META = {"artifact_id": "x", "filename": "a.csv", "mimetype": "text/csv", "encoding": None}


def test_the_page_lists_a_file_of_a_study_by_its_attribute(study):
    optuna_private.set_system_attribute(study, f"{dashboard_private.STUDY_FILES}x", json.dumps(META))
    assert [a["filename"] for a in artifacts_of(study, trial=False)] == ["a.csv"]


def test_the_page_lists_a_file_of_an_ended_trial_by_an_attribute_of_its_study(study):
    key = f"{dashboard_private.trial_files(study.trials[0])}x"
    optuna_private.set_system_attribute(study, key, json.dumps(META))
    assert [a["filename"] for a in artifacts_of(study, trial=True)] == ["a.csv"]


def test_the_page_takes_the_names_of_objectives_from_their_attribute(study):
    from optuna_dashboard._named_objectives import get_objective_names

    optuna_private.set_system_attribute(study, dashboard_private.objective_names_key(), ["score"])
    assert get_objective_names(optuna_private.system_attributes(study)) == ["score"]


@pytest.mark.parametrize("on_trial", [False, True])
def test_a_note_that_was_saved_is_read_with_its_version(study, on_trial):
    trial_id = optuna_private.trial_id(study.trials[0]) if on_trial else None
    attributes = optuna_private.system_attributes
    assert dashboard_private.note_in(attributes(study), trial_id) == ("", 0)
    dashboard_private.save_note(study, trial_id, "long " * 1000, version=1)
    assert dashboard_private.note_in(attributes(study), trial_id) == ("long " * 1000, 1)


def test_a_figure_that_was_saved_is_read_as_json(study):
    from plotly.graph_objects import Figure

    figure = Figure(data=[{"type": "scatter", "x": [1], "y": [2]}])
    optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id="own")
    shown = dashboard_private.figures_in(optuna_private.system_attributes(study))
    assert json.loads(shown["own"]) == json.loads(figure.to_json())


def test_the_front_is_that_of_the_directions():
    trials = [create_trial(values=values) for values in ([0.9, 0.8], [0.8, 0.9], [0.9, 0.7])]
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    assert dashboard_private.front_of(trials, directions) == [trials[1]]


def test_the_page_looks_for_the_front_under_the_name_that_is_replaced(monkeypatch):
    module = optuna_dashboard._app
    before = module.get_pareto_front_trials
    monkeypatch.setattr(module, "get_pareto_front_trials", before)
    dashboard_private.show_front_by(len)
    assert module.get_pareto_front_trials is len
    assert "get_pareto_front_trials" in module.create_app.__code__.co_names + sum(
        (c.co_names for c in module.create_app.__code__.co_consts if hasattr(c, "co_names")), ()
    )
