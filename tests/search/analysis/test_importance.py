import random

import optuna
import pytest
from optuna.trial import create_trial
from toys import DISTRIBUTIONS, add, make_study

import search.analysis.importance
from search.analysis.importance import importances


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
    found = importances(study_where(lambda p: -abs(p["dropout"] - 0.3)).trials)
    shares = found.shares
    assert found.missing is None
    assert next(iter(shares)) == "dropout"
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_recipes_and_pruned_trials_have_no_part():
    study = make_study()
    add(study, 0.8, 0.7, recipe="frozen-head")
    add(study, 0.8, 0.7, state=optuna.trial.TrialState.PRUNED)
    add(study, 0.8, 0.7)
    found = importances(study.trials)
    assert (found.shares, found.trials) == (None, 1)
    assert found.missing == "it takes 20 complete trials besides the recipes, there are 1"


@pytest.mark.parametrize(("count", "told"), [(19, False), (20, True)])
def test_importances_are_told_from_twenty_complete_trials_on(count, told):
    found = importances(study_where(lambda p: p["dropout"], count=count).trials)
    assert [getattr(found, k) is not None for k in ("shares", "intervals", "missing")] == [
        told,
        told,
        not told,
    ]


def test_each_share_has_an_interval_that_is_the_same_every_time():
    study = study_where(lambda p: -abs(p["dropout"] - 0.3))
    found = importances(study.trials)
    search.analysis.importance._told.cache_clear()
    assert importances(study.trials) == found
    assert list(found.intervals) == list(found.shares)
    assert all(0 <= i.low <= i.high <= 1 for i in found.intervals.values())


def test_the_intervals_part_a_setting_that_decides_from_those_that_cannot_act():
    found = importances(study_where(lambda p: -abs(p["dropout"] - 0.3), count=60).trials).intervals
    others = [interval.high for name, interval in found.items() if name != "dropout"]
    assert found["dropout"].low > max(others)


def test_the_intervals_of_settings_of_which_none_acts_overlap():
    noise = random.Random(0)
    found = importances(study_where(lambda _: noise.random(), count=20).trials).intervals.values()
    assert max(i.low for i in found) < min(i.high for i in found)


def test_the_shares_are_optunas_own():
    study = study_where(lambda p: -abs(p["dropout"] - 0.3), count=25)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=5 / 25)
    assert importances(study.trials).shares == pytest.approx(
        optuna.importance.get_param_importances(study, evaluator=evaluator)
    )


def test_equal_scores_tell_nothing():
    found = importances(study_where(lambda _: 0.5, count=20).trials)
    assert found.missing == "all 20 complete trials have the same score"
