import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.finalists import choose_finalists, fresh_seeds, outcome
from search.space import trial_seed
from search.spec import Score, StudySpec
from trainers.errors import InputError

SPEC = StudySpec.model_validate(
    {
        "name": "toy",
        "seed": 4,
        "data": {"source": "imdb", "train": 40, "validation": 20, "test": 20},
        "fit": {
            "freeze_depth": {"low": 0, "high": 2},
            "dropout": {"low": 0.0, "high": 0.5},
            "head_width": [8, 16],
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "patience": {"low": 1, "high": 4},
        },
        "recipes": {"enqueue": ["frozen-head"]},
    }
)
CEILING = 0.9
RULE = Score(ceiling=CEILING, penalty=1.0)


def add(study, validation, training, *, state=TrialState.COMPLETE, depth=1, recipe=None):
    settings = {"freeze_depth": depth, "dropout": 0.1, "head_width": 8, "learning_rate": 1e-3, "patience": 2}
    notes = {"validation_accuracy": validation, "training_accuracy": training, "seconds": 2.0}
    notes["config"] = SPEC.train_config(settings, seed=len(study.trials)).model_dump(
        mode="json", exclude_none=True
    )
    if recipe:
        notes["recipe"] = recipe
    study.add_trial(
        create_trial(
            state=state, value=validation, user_attrs=notes, constraints={"over": training - CEILING}
        )
    )


@pytest.fixture
def study():
    study = optuna.create_study(direction="maximize", study_name="toy")
    study.set_user_attr("num_layers", 3)
    return study


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


def test_without_a_feasible_trial_there_is_nothing_to_confirm(study):
    add(study, 0.90, 0.95)
    with pytest.raises(InputError, match=r"must have a complete trial under the ceiling .* got none of 1"):
        choose_finalists(study, SPEC, num_finalists=3)


def test_fresh_seeds_are_those_of_no_trial_and_do_not_change_with_their_number():
    assert fresh_seeds(4, 5)[:3] == fresh_seeds(4, 3)
    assert len(set(fresh_seeds(4, 100))) == 100
    assert not set(fresh_seeds(4, 100)) & {trial_seed(s, n) for s in (4, 5) for n in range(1000)}


def record(seed, validation, training, predicted=None):
    figures = {
        "validation_accuracy": validation,
        "training_accuracy": training,
        "seconds": 1.0,
        "best_epoch": 1.0,
    }
    kept = {} if predicted is None else {"test_predictions": predicted}
    return {"seed": seed, "state": "complete", "reason": None, **figures, **kept}


FAILED = {"seed": 8, "state": "failed", "reason": "diverged"}
LABELS = np.arange(40) % 2


def judged(study, fits):
    """The outcome for trials of the search, each with its fits; every one predicts a text wrongly per place."""
    for place in range(len(fits)):
        add(study, 0.90 - place / 100, 0.89 - place / 50, depth=place % 3)
    finalists = choose_finalists(study, SPEC, num_finalists=len(fits))[: len(fits)]
    for place, records in enumerate(fits):
        predicted = LABELS.copy()
        predicted[: place + 1] = 1 - predicted[: place + 1]
        if records[0]["state"] == "complete":
            records[0]["test_predictions"] = predicted.tolist()
    named = {finalist.name: records for finalist, records in zip(finalists, fits, strict=True)}
    return outcome(finalists, named, LABELS, rule=RULE, num_classes=2, after=len(study.trials))


def test_the_winner_has_the_highest_mean_score_whatever_the_test_split_says(study):
    found = judged(study, [[record(7, 0.80, 0.85)], [record(7, 0.86, 0.85)], [record(7, 0.84, 0.85)]])
    assert found["winner"] == "trial 1"
    assert [row["name"] for row in found["finalists"]] == ["trial 1", "trial 2", "trial 0"]
    assert found["finalists"][2]["test"]["accuracy"] > found["finalists"][0]["test"]["accuracy"]


def test_a_setup_over_the_ceiling_with_half_of_the_seeds_cannot_win(study):
    found = judged(
        study, [[record(7, 0.95, 0.95), record(8, 0.95, 0.85)], [record(7, 0.70, 0.75), record(8, 0.7, 0.7)]]
    )
    assert found["winner"] == "trial 1"
    assert found["finalists"][1]["share_under_ceiling"] == 0.5


def test_without_a_setup_that_mostly_stays_under_the_ceiling_nobody_wins(study):
    assert judged(study, [[record(7, 0.95, 0.95)], [record(7, 0.9, 0.91)]])["winner"] is None


def test_equal_scores_are_won_by_who_freezes_more(study):
    assert judged(study, [[record(7, 0.8, 0.8)], [record(7, 0.8, 0.8)]])["winner"] == "trial 1"


def test_a_failed_fit_counts_against_its_setup(study):
    found = judged(study, [[record(7, 0.95, 0.85), FAILED], [record(7, 0.70, 0.75), record(8, 0.7, 0.7)]])
    assert found["winner"] == "trial 1"
    failed = found["finalists"][1]
    assert (failed["share_under_ceiling"], failed["validation"]) == (0.5, {"mean": 0.95, "spread": None})


def test_a_setup_whose_first_fit_failed_is_not_tested(study):
    found = judged(study, [[FAILED, record(9, 0.95, 0.85)], [record(8, 0.70, 0.75), record(9, 0.7, 0.7)]])
    assert [row["test"] is None for row in found["finalists"]] == [False, True]


def test_mean_spread_and_optimism_are_of_the_fresh_seeds(study):
    (row,) = judged(study, [[record(7, 0.84, 0.85), record(8, 0.86, 0.87), record(9, 0.88, 0.89)]])[
        "finalists"
    ]
    assert row["validation"] == {"mean": pytest.approx(0.86), "spread": pytest.approx(0.02)}
    assert row["training"]["mean"] == pytest.approx(0.87)
    assert row["optimism"] == pytest.approx(0.90 - 0.86)
    assert all("test_predictions" not in fit for fit in row["fits"])


def test_each_is_compared_with_the_recipe_and_the_winner_with_the_runner_up(study):
    add(study, 0.70, 0.71, recipe="frozen-head")
    add(study, 0.85, 0.88)
    add(study, 0.84, 0.86)
    finalists = choose_finalists(study, SPEC, num_finalists=2)
    half = (LABELS * (np.arange(40) < 20)).tolist()
    fits = {
        "trial 1": [record(7, 0.86, 0.85, LABELS.tolist())],
        "trial 2": [record(7, 0.85, 0.85, LABELS.tolist())],
        "frozen-head": [record(7, 0.7, 0.7, half)],
    }
    found = outcome(finalists, fits, LABELS, rule=RULE, num_classes=2, after=3)
    pairs = [(c["first"], c["second"]) for c in found["comparisons"]]
    assert pairs == [("trial 1", "frozen-head"), ("trial 2", "frozen-head"), ("trial 1", "trial 2")]
    first = found["comparisons"][0]
    assert (first["difference"], first["only_first_right"], first["only_second_right"]) == (0.25, 10, 0)
    assert first["p"] == pytest.approx(2 / 2**10)
    assert first["p_holm"] == pytest.approx(3 * 2 / 2**10)
    assert found["comparisons"][2]["p_holm"] == 1.0
