import warnings

import optuna
import pytest

from search.importance import importances

DISTRIBUTIONS = {
    "dropout": optuna.distributions.FloatDistribution(0.0, 1.0),
    "patience": optuna.distributions.IntDistribution(1, 4),
}


def trial(value, *, dropout=0.5, patience=2, **attrs):
    params = {"dropout": dropout, "patience": patience}
    return optuna.trial.create_trial(
        value=value, params=params, distributions=DISTRIBUTIONS, user_attrs=attrs
    )


def test_a_setting_that_decides_about_the_score_is_the_most_important_one():
    trials = [trial(i / 30, dropout=i / 30, patience=1 + i % 4) for i in range(30)]
    answer = importances(trials)
    assert (answer["trials"], answer["missing"]) == (30, None)
    assert list(answer["shares"]) == ["dropout", "patience"]
    assert sum(answer["shares"].values()) == pytest.approx(1.0)
    assert answer["shares"]["dropout"] > 0.8


def test_recipes_and_pruned_trials_are_left_out():
    pruned = optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED)
    answer = importances([trial(0.5), trial(0.9, recipe="frozen-head"), pruned])
    expected = "it takes 2 complete trials besides the recipes, there are 1"
    assert answer == {"shares": None, "trials": 1, "missing": expected}


def test_without_a_trial_there_are_none():
    assert importances([])["missing"].endswith("there are 0")


def test_equal_scores_tell_nothing():
    answer = importances([trial(0.5, dropout=i / 3) for i in range(3)])
    assert answer == {"shares": None, "trials": 3, "missing": "all 3 complete trials have the same score"}


def test_what_optuna_warns_of_tells_nothing(monkeypatch):
    def warn(_):
        warnings.warn("Target and region quantiles select the same set of trials.", stacklevel=1)

    monkeypatch.setattr(optuna.importance, "get_param_importances", warn)
    answer = importances([trial(0.5), trial(0.4)])
    assert answer["missing"] == "too many of the 2 complete trials tie for the best score"
