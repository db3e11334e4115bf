import dataclasses
from pathlib import Path

import pytest
from costs import MINILM_LAYERS, SPEED, make_costs, make_splits
from hypothesis import given, strategies as st

import search.new.cost
from search.new.cost import Sizes
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
        ("HEAD_START", None),
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


def test_a_usual_fine_tune_passes_all_layers_three_times():
    """By hand: 3 x 3,000 texts trained on at three passes each; 3 x (1,500 + 300) looks, and 3,000 in the end."""
    costs = make_costs(make_splits(3000, 1500, 126))
    forward = 6 * 126 * (24 * 384**2 + 4 * 384 * 126)
    expected = forward * (27_000 / SPEED.training + 8_400 / SPEED.evaluation)
    assert costs.recipe_seconds("usual", DEFAULT) == pytest.approx(expected, rel=0.01)


def test_a_head_that_is_fitted_first_takes_a_second_of_each_trial(monkeypatch):
    costs = make_costs(make_splits(3000, 1500, 126))
    fitted = costs.seconds(DEFAULT)
    monkeypatch.setattr(search.new.cost, "HEAD_START", "random")
    idle = 1 + 1 / 2 / 50
    assert fitted - costs.seconds(DEFAULT) == pytest.approx(50 * idle / 2)
