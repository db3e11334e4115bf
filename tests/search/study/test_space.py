import warnings

import optuna
import pytest
from hypothesis import given, strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.study.recipes import RECIPES
from search.study.space import distributions, recipe_params, recipe_settings, suggest, trial_seed
from search.study.spec import StudySpec

FIT = {
    "freeze_depth": {"low": 1, "high": 3},
    "dropout": {"low": 0.0, "high": 0.5},
    "head_width": [8, 16],
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "patience": {"low": 1, "high": 4},
}


def make_spec(fit=None, **tables):
    data = {"source": "imdb", "train": 40, "validation": 20, "test": 20}
    return StudySpec.model_validate({"name": "toy", "data": data, "fit": FIT | (fit or {}), **tables})


def make_study(seed=0):
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))


def test_ranges_and_lists_become_distributions():
    assert distributions(make_spec()) == {
        "freeze_depth": IntDistribution(1, 3),
        "dropout": FloatDistribution(0.0, 0.5),
        "head_width": CategoricalDistribution((8, 16)),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "patience": IntDistribution(1, 4),
    }


def test_range_of_a_whole_number_may_be_logarithmic():
    spec = make_spec({"head_width": {"low": 8, "high": 512, "log": True}})
    assert distributions(spec)["head_width"] == IntDistribution(8, 512, log=True)


def test_whole_ends_of_a_real_range_still_give_a_real_range():
    assert distributions(make_spec({"dropout": {"low": 0, "high": 0.5}}))["dropout"] == FloatDistribution(
        0.0, 0.5
    )


def test_fixed_setting_is_no_dimension_but_reaches_the_fit():
    spec = make_spec({"dropout": 0.25, "batch_size": 7})
    trial = make_study().ask()
    config = suggest(trial, spec, num_layers=3)
    assert set(trial.params) == {"freeze_depth", "head_width", "learning_rate", "patience"}
    assert (config.dropout, config.batch_size) == (0.25, 7)


def test_opened_setting_is_suggested_too():
    trial = make_study().ask()
    config = suggest(trial, make_spec({"schedule": ["constant", "linear"]}), num_layers=3)
    assert trial.params["schedule"] == config.schedule


def test_suggested_parameters_are_those_of_the_configuration():
    trial = make_study().ask()
    config = suggest(trial, make_spec(), num_layers=3)
    assert trial.params == {name: getattr(config, name) for name in FIT}


def test_every_suggestion_lies_in_the_space():
    study, spec = make_study(), make_spec()
    for _ in range(30):
        config = suggest(study.ask(), spec, num_layers=3)
        assert 1 <= config.freeze_depth <= 3
        assert 0 <= config.dropout <= 0.5
        assert config.head_width in (8, 16)
        assert 1e-4 <= config.learning_rate <= 1e-2
        assert 1 <= config.patience <= 4


def test_same_seed_gives_the_same_configuration():
    first, second = (suggest(make_study(seed=5).ask(), make_spec(), num_layers=3) for _ in range(2))
    assert first == second


def test_ceiling_of_the_score_is_the_fits():
    assert suggest(make_study().ask(), make_spec(score={"ceiling": 0.8}), num_layers=3).ceiling == 0.8


@pytest.mark.parametrize("recipe", [None, "frozen-head"])
def test_metric_of_the_score_is_the_fits_and_every_recipes(recipe):
    study = make_study()
    study.enqueue_trial({}, user_attrs={"recipe": recipe} if recipe else {})
    assert suggest(study.ask(), make_spec(score={"metric": "macro_f1"}), num_layers=3).metric == "macro_f1"


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_runs_with_its_own_settings_outside_the_ranges_without_a_warning(name):
    spec, study = make_spec(), make_study()
    study.enqueue_trial(recipe_params(name, spec, num_layers=3), user_attrs={"recipe": name})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = suggest(study.ask(), spec, num_layers=3)
    expected = RECIPES[name].resolve(num_layers=3)
    assert {k: v for k, v in config.model_dump().items() if k in expected} == expected


def test_parameters_of_a_recipe_show_its_own_values():
    spec, study = make_spec({"head_width": [32, 64]}), make_study()
    study.enqueue_trial(
        recipe_params("frozen-head", spec, num_layers=3), user_attrs={"recipe": "frozen-head"}
    )
    trial = study.ask()
    suggest(trial, spec, num_layers=3)
    assert trial.params == {
        "freeze_depth": 3,
        "dropout": 0.3,
        "head_width": 64,
        "learning_rate": 1e-5,
        "patience": 3,
    }


def test_recipe_value_that_is_no_choice_is_left_to_the_sampler():
    assert "head_width" not in recipe_params("frozen-head", make_spec(), num_layers=3)


def test_recipe_value_that_is_absent_is_left_to_the_sampler():
    assert "patience" not in recipe_params("overfit", make_spec(), num_layers=3)


def test_recipe_ignores_the_ceiling_and_fixed_settings_of_the_study():
    study = make_study()
    study.enqueue_trial({}, user_attrs={"recipe": "frozen-head"})
    config = suggest(study.ask(), make_spec({"weight_decay": 0.5}), num_layers=3)
    assert (config.ceiling, config.weight_decay) == (None, 0.0)


def test_recipe_epochs_are_capped_where_the_study_says_so():
    spec = make_spec(recipes={"epochs": {"thaw-top": 2, "overfit": 50}})
    settings = {name: recipe_settings(name, spec, num_layers=3) for name in RECIPES}
    assert {name: s["epochs"] for name, s in settings.items()} == {
        "probe": 0,
        "usual": 3,
        "overfit": 5,
        "frozen-head": 20,
        "thaw-top": 20,
    }
    assert settings["thaw-top"]["thaw"]["epochs"] == 2


def test_trial_carries_the_seed_of_its_number():
    study, spec = make_study(), make_spec(seed=9)
    seeds = [suggest(study.ask(), spec, num_layers=3).seed for _ in range(3)]
    assert seeds == [trial_seed(9, number) for number in range(3)]


numbers = st.integers(0, 2**31)


@given(numbers, numbers)
def test_trial_seed_is_a_stable_32_bit_number(study_seed, number):
    seed = trial_seed(study_seed, number)
    assert seed == trial_seed(study_seed, number)
    assert 0 <= seed < 2**32


@given(st.integers(0, 1000))
def test_trial_seeds_of_a_study_differ(study_seed):
    assert len({trial_seed(study_seed, n) for n in range(100)}) == 100


def test_trial_seed_never_changes():
    assert trial_seed(0, 0) == 2968811710
    assert trial_seed(0, 1) != trial_seed(1, 0)


def test_what_has_no_logarithm_is_left_to_the_sampler():
    fit = {"head_width": {"low": 8, "high": 64, "log": True}}
    params = recipe_params("probe", make_spec(fit=fit), num_layers=6)
    assert "head_width" not in params
    assert params["freeze_depth"] == 6


@pytest.mark.parametrize("name", ["probe", "usual", "frozen-head"])
def test_what_people_would_do_without_us_weighs_classes_as_the_study_does(name):
    for weights in ("balanced", {"spam": 5.0, "ham": 1.0}):
        settings = recipe_settings(name, make_spec(fit={"class_weights": weights}), num_layers=6)
        assert settings.get("class_weights") == (None if name == "frozen-head" else weights)
