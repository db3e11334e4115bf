import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from search.trials.sampler import SearchSampler, without_recipes

SPACE = {
    "rate": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
    "depth": optuna.distributions.IntDistribution(0, 6),
}


def make_study(*, recipes, seed=0):
    """A study of 3 complete and 17 pruned trials, and of recipes that ended at chance."""
    study = optuna.create_study(direction="maximize")
    draw = optuna.samplers.RandomSampler(seed=seed)
    for number in range(20):
        if number in recipes:
            attributes = {"recipe": "frozen-head"}
            params = {"rate": 1e-5, "depth": 6}
            study.add_trial(
                create_trial(value=0.5, params=params, distributions=SPACE, user_attrs=attributes)
            )
        frozen = create_trial(state=TrialState.RUNNING, params={}, distributions={})
        params = {k: draw.sample_independent(study, frozen, k, d) for k, d in SPACE.items()}
        ends = {"value": 0.8 + params["depth"] / 100} if number % 7 == 3 else {"state": TrialState.PRUNED}
        study.add_trial(
            create_trial(
                params=params, distributions=SPACE, intermediate_values={1: 0.6 + params["rate"]}, **ends
            )
        )
    return study


def drawn(study, sampler):
    study.sampler = sampler
    return study.ask(SPACE).params


@pytest.mark.parametrize("recipes", [(0, 1, 2), (0, 19)])
def test_recipes_never_steer_the_search(recipes):
    for seed in range(5):
        alone = drawn(make_study(recipes=()), TPESampler(seed=seed))
        beside = drawn(make_study(recipes=recipes), SearchSampler(seed=seed))
        assert beside == alone


def test_tpe_by_itself_counts_a_recipe_at_chance_among_the_good_trials():
    """Why there is a sampler of our own: complete trials come before pruned ones, whatever they reached."""
    draws = [drawn(make_study(recipes=(0, 1, 2)), TPESampler(seed=seed)) for seed in range(5)]
    assert draws != [drawn(make_study(recipes=()), TPESampler(seed=seed)) for seed in range(5)]
    study = make_study(recipes=(0, 1, 2))
    below, _ = optuna.samplers._tpe.sampler._split_trials(study, study.get_trials(), 6)
    assert [t.user_attrs.get("recipe") for t in below].count("frozen-head") == 3


def test_a_view_without_recipes_leaves_the_study_as_it_is():
    study = make_study(recipes=(0,))
    assert len(without_recipes(study).get_trials()) == 20
    assert len(study.get_trials()) == 21
    assert [t.number for t in without_recipes(study).get_trials()] == list(range(1, 21))


def test_few_searched_trials_are_drawn_at_random_however_many_recipes_ran():
    study = optuna.create_study(direction="maximize")
    for _ in range(12):
        study.add_trial(
            create_trial(
                value=0.5,
                params={"rate": 1e-5, "depth": 6},
                distributions=SPACE,
                user_attrs={"recipe": "usual"},
            )
        )
    empty = optuna.create_study(direction="maximize")
    assert drawn(study, SearchSampler(seed=3)) == drawn(empty, TPESampler(seed=3))
