"""The model of scores that the simulator tries rules of choice with."""

import sys
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "tables"))

from shrinkage import FEWEST, model, scaled

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


def test_settings_are_scaled_from_nought_to_one():
    lowest = {"freeze_depth": 0, "learning_rate": 1e-5, "head_width": 32}
    middle = {"freeze_depth": 3, "learning_rate": 1e-4, "head_width": 64}
    assert scaled([lowest, middle], SPACE) == pytest.approx(np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))


def test_what_is_expected_lies_nearer_to_the_truth_than_what_was_measured():
    settings, scores = drawn(40, seed=1)
    means, _ = model(settings, scores, SPACE).expect(settings)
    wanted = np.array([truth(s) for s in settings])
    assert np.abs(means - wanted).mean() < 0.5 * np.abs(scores - wanted).mean()


def test_the_expected_gain_is_what_the_best_of_the_space_promises_beyond_what_is_had():
    fitted = model(*drawn(40, seed=2), SPACE)
    over_nothing, over_all = (fitted.gain(best, generator=np.random.default_rng(0)) for best in (0.0, 1.0))
    assert over_nothing == pytest.approx(0.8, abs=0.02)
    assert 0 <= over_all < 1e-6


def test_too_few_trials_allow_no_estimate():
    assert model(*drawn(FEWEST - 1, seed=0), SPACE) is None


def test_equal_scores_allow_no_estimate():
    settings, _ = drawn(20, seed=0)
    assert model(settings, [0.5] * 20, SPACE) is None
