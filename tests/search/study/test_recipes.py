import pytest

from search.study.recipes import OPPONENTS, RECIPES, recipe_depths, recipe_passes
from trainers.config import TrainConfig
from trainers.fit.features import Features
from trainers.fit.loop import fit
from trainers.fit.stopping import EarlyStopping

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


@pytest.mark.parametrize(
    ("name", "depths"),
    [("overfit", (0,)), ("frozen-head", (6,)), ("thaw-top", (6, 4)), ("probe", (6,)), ("usual", (0,))],
)
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
    exercise = {"overfit": (0.98, 0.70), "frozen-head": (0.90, 0.87), "thaw-top": (None, None)}
    assert figures == exercise | dict.fromkeys(OPPONENTS, (None, None))


def test_probe_trains_nothing_but_a_logistic_regression():
    settings = RECIPES["probe"].resolve(num_layers=6)
    assert [settings[k] for k in ("freeze_depth", "head_width", "head_start", "epochs")] == [6, 0, "probe", 0]


def test_usual_trains_everything_as_everybody_types_it_and_keeps_the_last_weights():
    settings = RECIPES["usual"].resolve(num_layers=6)
    keys = ("freeze_depth", "learning_rate", "epochs", "schedule", "warmup", "weight_decay")
    assert [settings[k] for k in keys] == [0, 5e-5, 3, "linear", 0.1, 0.01]
    assert (settings["dropout"], settings["encoder_dropout"]) == (0.1, 0.1)
    stopping = EarlyStopping(patience=settings["patience"], ceiling=settings["ceiling"])
    assert stopping.preference([0.3, 0.5, 0.9], [0.9, 0.95, 1.0])[0] == 2
    assert stopping.reason_to_stop([0.3, 0.5, 0.9], [0.9, 0.95, 1.0]) is None


@pytest.mark.parametrize("name", ["probe", "frozen-head"])
def test_a_recipe_without_trained_layers_passes_none(name):
    assert recipe_passes(name, num_layers=6, num_train=1000, num_validation=500) == 0


@pytest.mark.parametrize("name", ["usual", "overfit"])
def test_passes_of_a_recipe_are_those_that_its_fit_counts(make_config, tiny_encoder, tiny_splits, name):
    settings = RECIPES[name].resolve(num_layers=tiny_encoder.num_layers)
    config = make_config(**settings)
    result = fit(config, Features(tiny_encoder, tiny_splits))
    passes = recipe_passes(
        name,
        num_layers=tiny_encoder.num_layers,
        num_train=len(tiny_splits.train),
        num_validation=len(tiny_splits.validation),
    )
    one_pass = tiny_encoder.layer_flops(tiny_splits.train.lengths_N).mean()
    assert result.flops == pytest.approx(passes * one_pass, rel=0.05)


def test_a_cap_holds_for_the_second_of_two_stages():
    sizes = {"num_layers": 6, "num_train": 1000, "num_validation": 500}
    whole, capped = (recipe_passes("thaw-top", epochs=epochs, **sizes) for epochs in (None, 1))
    assert capped == 2 * (3000 + 800 + 700)
    assert whole == 2 * (20 * 3800 + 700)
