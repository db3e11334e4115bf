import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import balanced_accuracy_score, f1_score

from search.evidence import accuracy_of, compare, estimate, holm


def classes(seed, count=300, share_right=0.8, labels=None, num_classes=2):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, num_classes, count) if labels is None else labels
    wrong = (labels + 1 + draw.integers(0, num_classes - 1, count)) % num_classes
    return labels, np.where(draw.random(count) < share_right, labels, wrong)


@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        ("accuracy", lambda labels, predicted: float((labels == predicted).mean())),
        ("balanced_accuracy", balanced_accuracy_score),
        ("macro_f1", lambda labels, predicted: f1_score(labels, predicted, average="macro")),
    ],
)
def test_figure_is_scikit_learns(metric, oracle):
    labels, predicted = classes(1, num_classes=3)
    figure = accuracy_of(labels, predicted, metric=metric, num_classes=3)
    assert figure == pytest.approx(oracle(labels, predicted), abs=1e-12)


def test_interval_is_scipys_over_right_and_wrong():
    labels, predicted = classes(2)
    found = estimate(labels, predicted, metric="accuracy", num_classes=2)
    expected = bootstrap(
        ((labels == predicted).astype(float),), np.mean, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    assert found.value == (labels == predicted).mean()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_interval_holds_the_truth_about_as_often_as_it_says():
    truth = 0.8
    held = 0
    for seed in range(40):
        found = estimate(*classes(seed, count=80, share_right=truth), metric="accuracy", num_classes=2)
        held += found.low <= truth <= found.high
    assert 33 <= held <= 40  # 95 % of 40 are 38; 32 or fewer would be seen once in 7,000 such tests


def test_interval_is_the_same_each_time():
    labels, predicted = classes(3)
    first, second = (estimate(labels, predicted, metric="macro_f1", num_classes=2) for _ in range(2))
    assert first == second


def test_all_right_has_no_interval():
    labels, _ = classes(4)
    found = estimate(labels, labels, metric="accuracy", num_classes=2)
    assert (found.value, found.low, found.high) == (1.0, None, None)


def test_p_is_that_of_a_sign_test_on_the_texts_that_tell_them_apart():
    labels, first = classes(5, share_right=0.9)
    _, second = classes(6, share_right=0.7, labels=labels)
    found = compare(labels, first, second, metric="accuracy", num_classes=2)
    only_first = int(((first == labels) & (second != labels)).sum())
    only_second = int(((first != labels) & (second == labels)).sum())
    assert (found.only_first_right, found.only_second_right) == (only_first, only_second)
    assert found.p == pytest.approx(binomtest(only_first, only_first + only_second).pvalue)
    assert found.difference.value == pytest.approx((only_first - only_second) / len(labels))
    assert found.difference.low < found.difference.value < found.difference.high


def test_equal_predictions_differ_by_nothing():
    labels, predicted = classes(7)
    found = compare(labels, predicted, predicted, metric="accuracy", num_classes=2)
    assert (found.difference.value, found.p) == (0.0, 1.0)
    assert (found.only_first_right, found.only_second_right) == (0, 0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []
