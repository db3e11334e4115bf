"""Thresholds, against scikit-learn's metrics at every place where one could be."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, fbeta_score

from trainers.fit.thresholds import AIMS, achieved, aim_in_words, best_threshold, decide


def by_scikit_learn(said_N, true_N, aim):
    if aim == "balanced_accuracy":
        return balanced_accuracy_score(true_N, said_N)
    return fbeta_score(true_N, said_N, beta=float(aim[1:]), zero_division=0)


def drawn(seed, *, digits):
    rng = np.random.default_rng(seed)
    true_N = rng.random(60) < 0.25
    true_N[:2] = True, False
    return np.round(np.clip(rng.normal(0.3 + 0.25 * true_N, 0.2), 0, 1), digits), true_N


@pytest.mark.parametrize("aim", AIMS)
@pytest.mark.parametrize("digits", [1, 2, 8])
def test_no_other_place_is_better(aim, digits):
    for seed in range(10):
        probabilities_N, true_N = drawn(seed, digits=digits)
        chosen = best_threshold(probabilities_N, true_N, aim=aim)
        places = [0.0, 0.5, *np.unique(probabilities_N), 1.1]
        best = max(by_scikit_learn(probabilities_N >= p, true_N, aim) for p in places)
        assert by_scikit_learn(probabilities_N >= chosen, true_N, aim) == pytest.approx(best)
        assert 0 <= chosen <= 1


@pytest.mark.parametrize("aim", AIMS)
def test_what_is_achieved_is_what_scikit_learn_says(aim):
    probabilities_N, true_N = drawn(0, digits=8)
    assert achieved(probabilities_N >= 0.5, true_N, aim=aim) == pytest.approx(
        by_scikit_learn(probabilities_N >= 0.5, true_N, aim)
    )


@pytest.mark.parametrize(
    ("probabilities_N", "true_N"),
    [
        ([0.2, 0.9], [False, False]),
        ([0.2, 0.9], [True, True]),
        ([], []),
        ([np.nan, 0.9], [False, True]),
        ([0.2, 0.9], [False, True]),
    ],
    ids=["class absent", "no other class", "no text", "no number", "as good already"],
)
def test_one_half_stays_where_nothing_is_gained(probabilities_N, true_N):
    assert best_threshold(np.array(probabilities_N), np.array(true_N, dtype=bool), aim="f1") == 0.5


def test_equal_scores_leave_all_or_nothing():
    chosen = best_threshold(np.full(4, 0.3), np.array([True, False, False, False]), aim="f1")
    assert 0 <= chosen <= 0.3


def test_the_most_probable_class_is_said_where_there_is_no_threshold():
    assert decide(np.array([[0.2, 0.8], [0.7, 0.3]]), ("a", "b"), None).tolist() == [1, 0]


@pytest.mark.parametrize(("name", "said"), [("a", [0, 0, 1]), ("b", [1, 0, 1])])
def test_a_class_is_said_from_its_threshold_on(name, said):
    probabilities_NC = np.array([[0.3, 0.7], [0.8, 0.2], [0.1, 0.9]])
    assert decide(probabilities_NC, ("a", "b"), {name: 0.3}).tolist() == said


def test_aims_are_written_as_the_field_writes_them():
    assert [aim_in_words(aim) for aim in AIMS] == ["F1", "F2", "F0.5", "balanced accuracy"]
