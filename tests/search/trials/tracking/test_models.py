"""With a tracker that does not exist: what one may do to an export."""

import json
from functools import partial

import optuna
import pytest

from search.study import StudySpec, attributes as attr
from search.trials.tracking import models
from search.trials.tracking.courier import Courier
from search.trials.tracking.models import keep_model
from search.trials.tracking.targets import Target

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "data": {"source": "imdb"},
        "fit": {"freeze_depth": 1, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3, "patience": 2},
    }
)


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """A function: keep a model directory in a pretended tracker of such a place; returns what is told."""
    monkeypatch.setattr(models, "Courier", partial(Courier, module="pretended_tracker"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    study = optuna.create_study()
    study.optimize(lambda _: 0.5, n_trials=1)

    def keep(*places):
        said = []
        keep_model(
            study,
            SPEC,
            tmp_path,
            [Target("mlflow", place) for place in places],
            trial=study.trials[0],
            model=model,
            reason="best",
            tell=said.append,
        )
        assert attr.TRACKING in study.user_attrs or not places
        return [text for text in said if text != "mlflow: look there" and not text.startswith("waiting")]

    return keep


def test_the_trial_is_shown_and_then_its_model(keep, tmp_path):
    assert keep(None) == []
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert calls == [["began", 0], ["ended", 0, "complete"], ["exported", 0, str(tmp_path / "model")]]


def test_the_model_is_added_to_a_run_that_had_ended(keep, tmp_path):
    keep("has ended")
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert calls == [["began", 0], ["exported", 0, str(tmp_path / "model")]]


@pytest.mark.parametrize(
    ("place", "why"), [("raises", "ValueError: no room left"), ("dies", "its process ended")]
)
def test_a_failure_is_told_once_and_stops_nothing(keep, tmp_path, place, why):
    assert keep(place, None) == [
        f"mlflow={place} does not take the model, which stays in {tmp_path / 'model'}; the same command tries again: {why}"
    ]


def test_a_tracker_that_hangs_is_waited_for_so_long(keep, monkeypatch):
    monkeypatch.setattr(models, "PATIENCE_SECONDS", 0.5)
    assert keep("hangs") == [
        "mlflow=hangs has taken nothing for 1 s: the model is not there; the same command tries again"
    ]


def test_where_nothing_is_asked_for_nothing_is_started(keep, tmp_path):
    assert keep() == []
    assert not (tmp_path / "calls.jsonl").exists()


def test_a_model_is_known_by_what_decides_its_answers_not_by_how_long_its_fit_took(tmp_path):
    def digest(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return models.digest(tmp_path)

    first = digest(config_json="{}", README_md="25 s", winner_toml="# 25 s")
    assert digest(README_md="26 s", winner_toml="# 26 s") == first
    assert digest(config_json="{1}") != first
