import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from search.shrinkage import FEWEST, model, recommendation, scaled

SPACE = {
    "freeze_depth": IntDistribution(0, 6),
    "learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
    "head_width": CategoricalDistribution([32, 64, 128]),
}
NOISE = 0.02


def truth(settings):
    return 0.8 - 0.02 * (np.log10(settings["learning_rate"]) + 4) ** 2


def drawn(count, seed):
    generator = np.random.default_rng(seed)
    settings = [
        {
            "freeze_depth": int(generator.integers(0, 7)),
            "learning_rate": float(10 ** generator.uniform(-5, -3)),
            "head_width": int(generator.choice([32, 64, 128])),
        }
        for _ in range(count)
    ]
    return settings, [truth(s) + NOISE * generator.normal() for s in settings]


def trial(number, settings, value, *, excess=-0.1, **attributes):
    made = optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        value=value,
        params=settings,
        distributions=SPACE,
        user_attrs={"validation_accuracy": value, "training_accuracy": 0.8} | attributes,
        constraints={"over": excess},
    )
    made.number = number
    return made


def study(count=40, seed=0):
    return [trial(i, s, v) for i, (s, v) in enumerate(zip(*drawn(count, seed), strict=True))]


def test_settings_are_scaled_from_nought_to_one():
    lowest = {"freeze_depth": 0, "learning_rate": 1e-5, "head_width": 32}
    middle = {"freeze_depth": 3, "learning_rate": 1e-4, "head_width": 64}
    assert scaled([lowest, middle], SPACE) == pytest.approx(np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))


def test_what_is_expected_lies_nearer_to_the_truth_than_what_was_measured():
    settings, scores = drawn(40, seed=1)
    means, _ = model(settings, scores, SPACE).expect(settings)
    wanted = np.array([truth(s) for s in settings])
    assert np.abs(means - wanted).mean() < 0.5 * np.abs(scores - wanted).mean()


def test_the_promise_for_the_chosen_setup_flatters_less_than_its_own_figure():
    flattery = []
    for seed in range(5):
        trials = study(seed=seed)
        best = max(trials, key=lambda t: t.value)
        found = recommendation(trials, SPACE)
        chosen = trials[found["trial"]]
        flattery.append((best.value - truth(best.params), found["score"] - truth(chosen.params)))
    raw, shrunk = np.mean(flattery, axis=0)
    assert abs(shrunk) < raw / 2


def test_the_expected_gain_is_what_the_best_of_the_space_promises_beyond_what_is_had():
    fitted = model(*drawn(40, seed=2), SPACE)
    over_nothing, over_all = (fitted.gain(best, generator=np.random.default_rng(0)) for best in (0.0, 1.0))
    assert over_nothing == pytest.approx(0.8, abs=0.02)
    assert 0 <= over_all < 1e-6


def test_too_few_trials_allow_no_estimate():
    assert recommendation(study(FEWEST - 1), SPACE) is None


def test_equal_scores_allow_no_estimate():
    settings, _ = drawn(20, seed=0)
    assert model(settings, [0.5] * 20, SPACE) is None


def test_recipes_and_infeasible_trials_are_not_recommended():
    trials = study()
    first = recommendation(trials, SPACE)["trial"]
    settings, value = trials[first].params, trials[first].value
    for changed in (
        trial(first, settings, value, excess=0.1),
        trial(first, settings, value, recipe="overfit"),
    ):
        others = [changed if t.number == first else t for t in trials]
        found = recommendation(others, SPACE)
        assert first not in (found["trial"], found["frozen"], *found["tied"])


def test_of_setups_that_cannot_be_told_apart_one_freezes_most():
    trials = study()
    found = recommendation(trials, SPACE)
    depths = [trials[n].params["freeze_depth"] for n in (found["trial"], *found["tied"])]
    assert trials[found["frozen"]].params["freeze_depth"] == max(depths)


def test_the_recommendation_is_said_in_a_sentence():
    found = recommendation(study(), SPACE)
    assert found["sentence"].startswith(
        f"Luck of single measurements taken out, trial {found['trial']} is expected to be best: score "
    )
    assert f"{len(found['tied'])} other" in found["sentence"]
