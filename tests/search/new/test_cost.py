import dataclasses
from pathlib import Path

import pytest
from costs import MINILM_LAYERS, SPEED, make_costs, make_splits
from hypothesis import given, strategies as st

import search.new.cost
from search.new.cost import Folds, Sizes
from search.study.spec import load_spec

DEFAULT = Sizes(
    train=3000, validation=1500, max_length=128, freeze_depth=2, epochs=1, evaluations_per_epoch=4
)


def test_the_estimate_for_the_default_study_of_version_0_1_is_what_it_took(monkeypatch):
    """34 min 42 s on Zen 4, and 35 min 3 s on the machine before; 9 of 50 trials complete, 31 ended at the first rung."""
    for name, value in (
        ("RUNG_SHARES", (0.125, 0.25, 0.5)),
        ("PRUNED_SHARES", (31 / 41, 9 / 41, 1 / 41)),
        ("LATER_COMPLETE", 0.1),
        ("HEAD_START_SECONDS", 0.0),
    ):
        monkeypatch.setattr(search.new.cost, name, value)
    costs = make_costs(make_splits(3000, 1500, 126))
    costs = dataclasses.replace(costs, recipes=("frozen-head", "thaw-top"))
    assert costs.seconds(DEFAULT) == pytest.approx(35 * 60 + 3, rel=0.25)


def test_a_study_is_pruned_where_the_default_study_is():
    assert DEFAULT.rungs == load_spec(Path("studies/imdb.toml")).pruning.rungs


@given(
    st.sampled_from(["train", "validation", "max_length", "epochs", "evaluations_per_epoch"]),
    st.integers(1, 4),
)
def test_whatever_is_larger_costs_more(field, factor):
    costs = make_costs(make_splits(15_000, 8_000, 600))
    larger = dataclasses.replace(DEFAULT, **{field: (1 + factor) * getattr(DEFAULT, field)})
    assert costs.seconds(larger) > costs.seconds(DEFAULT)


def test_each_layer_that_may_be_trained_costs():
    costs = make_costs(make_splits(3000, 1500, 126))
    seconds = [costs.seconds(dataclasses.replace(DEFAULT, freeze_depth=d)) for d in range(MINILM_LAYERS + 1)]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("recipe", ["probe", "frozen-head", "thaw-top", "usual"])
def test_recipes_are_reckoned_with(recipe):
    costs = make_costs(make_splits(3000, 1500, 126))
    costs = dataclasses.replace(costs, speed=dataclasses.replace(SPEED, workers=1))
    with_it = dataclasses.replace(costs, recipes=(recipe,), num_trials=costs.num_trials + 1)
    own = costs.recipe_seconds(recipe, DEFAULT)
    assert own > 1
    assert with_it.seconds(DEFAULT) - costs.seconds(DEFAULT) == pytest.approx(own)


def test_recipes_are_among_the_trials():
    """Of eight trials with four recipes an estimate once held twelve: 271 s for a search that took 163."""
    costs = dataclasses.replace(make_costs(make_splits(3000, 1500, 126)), num_trials=8)
    recipes = ("probe", "frozen-head", "usual", "thaw-top")
    with_them = dataclasses.replace(costs, recipes=recipes, speed=dataclasses.replace(SPEED, workers=1))
    four = dataclasses.replace(with_them, recipes=(), num_trials=4)
    of_recipes = sum(costs.recipe_seconds(name, DEFAULT) for name in recipes)
    assert with_them.seconds(DEFAULT) == pytest.approx(four.seconds(DEFAULT) + of_recipes)


def test_a_recipe_that_the_trials_have_no_room_for_takes_no_time():
    costs = dataclasses.replace(make_costs(make_splits(3000, 1500, 126)), num_trials=1)
    both = dataclasses.replace(costs, recipes=("probe", "usual"))
    assert both.seconds(DEFAULT) == dataclasses.replace(costs, recipes=("probe",)).seconds(DEFAULT)


def test_a_usual_fine_tune_passes_all_layers_three_times():
    """By hand: 3 x 3,000 texts trained on at three passes each; 3 x (1,500 + 300) looks, and 3,000 in the end."""
    costs = make_costs(make_splits(3000, 1500, 126))
    forward = 6 * 126 * (24 * 384**2 + 4 * 384 * 126)
    expected = forward * (27_000 / SPEED.training + 8_400 / SPEED.evaluation)
    assert costs.recipe_seconds("usual", DEFAULT) == pytest.approx(expected, rel=0.01)


def test_a_head_that_is_fitted_first_takes_a_second_of_each_trial(monkeypatch):
    costs = make_costs(make_splits(3000, 1500, 126))
    fitted = costs.seconds(DEFAULT)
    monkeypatch.setattr(search.new.cost, "HEAD_START_SECONDS", 0.0)
    idle = 1 + 1 / 2 / 50
    assert fitted - costs.seconds(DEFAULT) == pytest.approx(50 * idle / 2)


@pytest.mark.parametrize(
    ("trials", "ends_early", "fits"), [(1, True, 3.5), (4, True, 3.5), (20, True, 2.54), (20, False, 5.0)]
)
def test_a_trial_of_five_folds_takes_as_many_fits_as_were_measured(trials, ends_early, fits):
    """By hand: (4 x 3.5 + 16 x 2.3) / 20."""
    assert Folds(5, ends_early).fits(trials) == pytest.approx(fits)


def test_folds_cost_what_their_fits_cost():
    """By hand: a fit of a fold trains on four fifths of the texts and validates on one."""
    whole = dataclasses.replace(DEFAULT, train=1_000, validation=0)
    one = make_costs(make_splits(1_000, 0, 126), trials=20)
    folded = dataclasses.replace(one, folds=Folds(5, ends_early=False))
    of_a_fit = dataclasses.replace(whole, train=800, validation=200)
    fixed = one.seconds(whole) - one._trials_seconds(whole) * (1 + 1 / 40) / 2
    expected = 5 * one._trials_seconds(of_a_fit) * (1 + 1 / 40) / 2
    assert folded.seconds(whole) - fixed == pytest.approx(expected)
    assert folded.recipe_seconds("usual", whole) == pytest.approx(5 * one.recipe_seconds("usual", of_a_fit))
