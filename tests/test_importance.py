import optuna
import pytest
from optuna.trial import create_trial
from toys import DISTRIBUTIONS, add, make_study

from search.importance import importances


def study_where(score, count=30):
    """A study in which ``score`` says what settings are worth."""
    study = make_study()
    sampler = optuna.samplers.RandomSampler(seed=1)
    asked = optuna.create_study(sampler=sampler)
    for _ in range(count):
        params = asked.ask(DISTRIBUTIONS).params
        study.add_trial(create_trial(params=params, distributions=DISTRIBUTIONS, value=score(params)))
    return study


def test_the_setting_that_decides_comes_first():
    shares = importances(study_where(lambda p: -abs(p["dropout"] - 0.3)).trials)["shares"]
    assert next(iter(shares)) == "dropout"
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_recipes_and_pruned_trials_have_no_part():
    study = make_study()
    add(study, 0.8, 0.7, recipe="frozen-head")
    add(study, 0.8, 0.7, state=optuna.trial.TrialState.PRUNED)
    add(study, 0.8, 0.7)
    found = importances(study.trials)
    assert (found["shares"], found["trials"]) == (None, 1)
    assert found["missing"] == "it takes 2 complete trials besides the recipes, there are 1"


def test_equal_scores_tell_nothing():
    found = importances(study_where(lambda _: 0.5, count=4).trials)
    assert found["missing"] == "all 4 complete trials have the same score"
