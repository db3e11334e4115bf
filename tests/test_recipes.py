import pytest

from search.recipes import RECIPES, recipe_depths
from trainers.config import TrainConfig

DATA = {"source": "imdb", "validation": 20, "test": 20}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("num_layers", [1, 3, 12])
def test_recipe_is_a_valid_fit_on_any_encoder(name, num_layers):
    config = TrainConfig.model_validate({"data": DATA, **RECIPES[name].resolve(num_layers=num_layers)})
    assert 0 <= config.freeze_depth <= num_layers


def test_frozen_head_freezes_every_layer():
    assert RECIPES["frozen-head"].resolve(num_layers=6)["freeze_depth"] == 6


def test_thaw_top_is_frozen_head_and_then_its_two_top_layers_at_a_millionth():
    settings = RECIPES["thaw-top"].resolve(num_layers=6)
    assert settings.pop("thaw") == {"freeze_depth": 4, "learning_rate": 1e-6, "epochs": 20}
    assert settings == RECIPES["frozen-head"].resolve(num_layers=6)


def test_thaw_top_of_a_single_layer_thaws_everything():
    assert RECIPES["thaw-top"].resolve(num_layers=1)["thaw"]["freeze_depth"] == 0


@pytest.mark.parametrize(("name", "depths"), [("overfit", (0,)), ("frozen-head", (6,)), ("thaw-top", (6, 4))])
def test_the_depths_of_a_recipe_are_those_of_its_stages(name, depths):
    assert recipe_depths(name, num_layers=6) == depths


def test_overfit_trains_everything_without_dropout_or_early_stopping():
    settings = RECIPES["overfit"].resolve(num_layers=6)
    assert (settings["freeze_depth"], settings["dropout"], settings["patience"]) == (0, 0.0, None)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_knows_no_ceiling(name):
    assert RECIPES[name].settings["ceiling"] is None


def test_reported_figures_are_those_of_the_exercise():
    figures = {n: (r.reported_training, r.reported_validation) for n, r in RECIPES.items()}
    assert figures == {"overfit": (0.98, 0.70), "frozen-head": (0.90, 0.87), "thaw-top": (None, None)}
