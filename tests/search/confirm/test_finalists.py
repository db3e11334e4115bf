import pytest
from finalists import SPEC, add, make_study
from optuna.trial import TrialState

from search.confirm.finalists import choose_finalists, fresh_seeds
from search.study.space import trial_seed
from trainers.errors import InputError


@pytest.fixture
def study():
    return make_study()


def names(finalists):
    return [finalist.name for finalist in finalists]


def test_finalists_are_the_front_of_the_feasible_trials_and_the_recipes(study):
    add(study, 0.80, 0.85)
    add(study, 0.90, 0.95)  # over the ceiling
    add(study, 0.85, 0.88)
    add(study, 0.79, 0.86)  # beaten in both
    add(study, 0.95, 0.80, state=TrialState.PRUNED)
    add(study, 0.70, 0.71, recipe="frozen-head")
    assert names(choose_finalists(study, SPEC, num_finalists=3)) == ["trial 2", "trial 0", "frozen-head"]


def test_no_more_finalists_than_asked_for_recipes_not_counted(study):
    for i in range(4):
        add(study, 0.80 + i / 100, 0.84 + i / 100)
    assert names(choose_finalists(study, SPEC, num_finalists=2)) == ["trial 3", "trial 2", "frozen-head"]


def test_a_recipe_that_never_ran_is_a_finalist_without_figures(study):
    add(study, 0.80, 0.85)
    recipe = choose_finalists(study, SPEC, num_finalists=1)[1]
    assert (recipe.name, recipe.trial, recipe.search) == ("frozen-head", None, None)
    assert recipe.config.freeze_depth == 3


def test_a_recipe_that_the_study_ran_beside_its_own_is_a_finalist_too(study):
    add(study, 0.80, 0.85)
    add(study, 0.60, 0.95, recipe="overfit")
    assert names(choose_finalists(study, SPEC, num_finalists=1)) == ["trial 0", "frozen-head", "overfit"]


def test_while_only_recipes_have_completed_they_are_all_there_is_to_confirm(study):
    add(study, 0.70, 0.71, recipe="frozen-head")
    add(study, 0.90, 0.95)
    assert names(choose_finalists(study, SPEC, num_finalists=3)) == ["frozen-head"]


def test_without_a_feasible_trial_there_is_nothing_to_confirm(study):
    add(study, 0.90, 0.95)
    with pytest.raises(InputError, match=r"must have a complete trial under the ceiling .* got none of 1"):
        choose_finalists(study, SPEC, num_finalists=3)


def test_fresh_seeds_are_those_of_no_trial_and_do_not_change_with_their_number():
    assert fresh_seeds(4, 5)[:3] == fresh_seeds(4, 3)
    assert len(set(fresh_seeds(4, 100))) == 100
    assert not set(fresh_seeds(4, 100)) & {trial_seed(s, n) for s in (4, 5) for n in range(1000)}
