import itertools
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test, t
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from search.analysis.statistics import accuracy_of, compare, estimate, holm, student_half_width

METRICS = {
    "accuracy": lambda labels, predicted: float((labels == predicted).mean()),
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda labels, predicted: f1_score(labels, predicted, average="macro", zero_division=0),
    "quadratic_kappa": partial(cohen_kappa_score, weights="quadratic"),
}


def fits(seed, *shares_right, count=300, labels=None, num_classes=2):
    """Labels, and a row of predictions for each share of texts that is right."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, num_classes, count) if labels is None else labels
    rows = []
    for share in shares_right:
        wrong = (labels + 1 + draw.integers(0, num_classes - 1, len(labels))) % num_classes
        rows.append(np.where(draw.random(len(labels)) < share, labels, wrong))
    return labels, np.stack(rows)


@pytest.mark.parametrize("metric", METRICS)
def test_figure_is_scikit_learns_and_that_of_several_fits_their_mean(metric):
    labels, predicted = fits(1, 0.8, 0.6, 0.7, num_classes=3)
    singly = [METRICS[metric](labels, row) for row in predicted]
    assert accuracy_of(labels, predicted[0], metric=metric, num_classes=3) == pytest.approx(
        singly[0], abs=1e-12
    )
    found = estimate(labels, predicted, metric=metric, num_classes=3)
    assert found.value == pytest.approx(np.mean(singly), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_interval_of_one_fit_is_scipys_over_texts(metric):
    labels, predicted = fits(2, 0.8, num_classes=3)
    found = estimate(labels, predicted, metric=metric, num_classes=3)
    expected = bootstrap(
        (labels, predicted[0]),
        METRICS[metric],
        paired=True,
        n_resamples=300,
        vectorized=False,
        rng=5,
        method="percentile",
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        found = estimate(*fits(seed, 0.8, count=80), metric="accuracy", num_classes=2)
        held += found.low <= 0.8 <= found.high
    assert held >= 181  # 95 % of 200 are 190


def drawn_setup(draw, mean, *, seeds, count=200):
    """Fits of a setup whose seeds lie about five points around their mean; labels are all 0."""
    shares = np.clip(draw.normal(mean, 0.05, seeds), 0, 1)
    return (draw.random((seeds, count)) > shares[:, None]).astype(np.int64)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_of_several_fits_holds_other_seeds_too(seeds):
    draw = np.random.default_rng(seeds)
    labels, held, by_texts_alone = np.zeros(200, dtype=np.int64), 0, 0
    for _ in range(200):
        predicted = drawn_setup(draw, 0.8, seeds=seeds)
        found = estimate(labels, predicted, metric="accuracy", num_classes=2)
        one = estimate(labels, predicted[:1], metric="accuracy", num_classes=2)
        held += found.low <= 0.8 <= found.high
        by_texts_alone += one.low <= 0.8 <= one.high
    assert held >= 181  # 95 % of 200 are 190
    assert by_texts_alone < 160


def test_a_difference_that_one_draw_of_seeds_makes_is_none_of_the_setups():
    draw = np.random.default_rng(0)
    labels, found = np.zeros(200, dtype=np.int64), []
    for _ in range(60):
        first, second = (drawn_setup(draw, 0.8, seeds=3) for _ in range(2))
        found.append(compare(labels, first, second, metric="accuracy", num_classes=2))
    excludes_0 = sum(not pair.difference.low <= 0 <= pair.difference.high for pair in found)
    assert excludes_0 <= 8  # 5 % of 60 are 3
    assert sum(pair.p < 0.05 for pair in found) > 12  # p speaks of these fits


@pytest.mark.parametrize("metric", METRICS)
def test_interval_is_the_same_each_time(metric):
    labels, predicted = fits(3, 0.8, 0.7)
    first, second = (estimate(labels, predicted, metric=metric, num_classes=2) for _ in range(2))
    assert first == second


def test_all_right_has_no_interval():
    labels, predicted = fits(4, 1.0, 1.0)
    found = estimate(labels, predicted, metric="accuracy", num_classes=2)
    assert (found.value, found.low, found.high) == (1.0, None, None)


def test_interval_of_a_share_ends_at_one():
    labels, predicted = fits(4, 1.0, 0.9)
    assert estimate(labels, predicted, metric="accuracy", num_classes=2).high == 1.0


def test_half_width_is_students_for_one_part_and_the_normal_laws_for_many_texts():
    assert student_half_width(4.0, [(4.0, 2)]) == pytest.approx(2 * 4.302653)
    assert student_half_width(4.0, [(4.0, 10**6)]) == pytest.approx(2 * 1.959964, rel=1e-5)
    assert student_half_width(0.0, [(0.0, 2)]) == 0.0


def permuted(labels, first, second, metric, num_classes):
    """What SciPy says of the answers of single fits."""

    def figure(answers):
        return accuracy_of(
            answers // num_classes, answers % num_classes, metric=metric, num_classes=num_classes
        )

    def difference(one, other):
        return figure(one) - figure(other)

    return permutation_test(
        (labels * num_classes + first, labels * num_classes + second),
        difference,
        permutation_type="samples",
        vectorized=False,
        n_resamples=2000,
        rng=1,
    ).pvalue


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_p_is_that_of_scipys_permutation_test_of_the_metric(metric, num_classes):
    labels, first = fits(5, 0.75, count=60, num_classes=num_classes)
    _, second = fits(6, 0.62, labels=labels, num_classes=num_classes)
    found = compare(labels, first, second, metric=metric, num_classes=num_classes)
    expected = permuted(labels, first[0], second[0], metric, num_classes)
    assert found.p == pytest.approx(expected, abs=0.03)
    assert 0.005 < expected < 0.5


def test_p_of_accuracy_is_that_of_a_sign_test_on_the_texts_that_tell_them_apart():
    labels, first = fits(5, 0.9)
    _, second = fits(6, 0.85, labels=labels)
    found = compare(labels, first, second, metric="accuracy", num_classes=2)
    only_first = int(((first == labels) & (second != labels)).sum())
    only_second = int(((first != labels) & (second == labels)).sum())
    assert (found.only_first_right, found.only_second_right) == (only_first, only_second)
    assert found.p == pytest.approx(
        binomtest(only_first, only_first + only_second).pvalue, rel=0.25, abs=0.002
    )
    assert found.difference.value == pytest.approx((only_first - only_second) / len(labels))
    assert found.difference.low < found.difference.value < found.difference.high


@pytest.mark.parametrize(("metric", "significant"), [("accuracy", False), ("balanced_accuracy", True)])
def test_a_rare_class_decides_by_the_studys_metric_and_not_by_texts_that_are_right(metric, significant):
    """The first finds 12 of 30 rare texts more, and takes 12 frequent ones for rare."""
    labels = np.repeat([0, 1], [300, 30])
    second = np.zeros((1, 330), dtype=np.int64)
    first = second.copy()
    first[0, 300:312] = 1
    first[0, :12] = 1
    found = compare(labels, first, second, metric=metric, num_classes=2)
    assert (found.only_first_right, found.only_second_right) == (12, 12)
    assert (found.p < 0.01) is significant
    assert (found.difference.low > 0) is significant


def swapped_by_loop(labels, first, second, metric, *, count):
    """The share of random swaps whose difference is as large, each text's answers of all seeds swapped together."""
    draw = np.random.default_rng(9)
    measure = partial(accuracy_of, labels, metric=metric, num_classes=3)

    def difference(one, other):
        return np.mean([measure(a) - measure(b) for a, b in zip(one, other, strict=True)])

    observed, as_large = abs(difference(first, second)), 0
    for _ in range(count):
        swap = draw.random(len(labels)) < 0.5
        as_large += (
            abs(difference(np.where(swap, second, first), np.where(swap, first, second))) >= observed - 1e-12
        )
    return as_large / count


@pytest.mark.parametrize("metric", METRICS)
def test_answers_of_several_seeds_are_swapped_together(metric):
    labels, first = fits(7, 0.8, 0.7, 0.7, count=80, num_classes=3)
    _, second = fits(8, 0.6, 0.6, 0.65, labels=labels, num_classes=3)
    found = compare(labels, first, second, metric=metric, num_classes=3)
    assert found.p == pytest.approx(swapped_by_loop(labels, first, second, metric, count=1000), abs=0.05)
    assert found.p < 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_turned_round_a_comparison_is_the_same(metric):
    labels, first = fits(7, 0.8, 0.7)
    _, second = fits(8, 0.7, 0.7, labels=labels)
    of = partial(compare, labels, metric=metric, num_classes=2)
    one, other = of(first, second), of(second, first)
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.p == pytest.approx(other.p, abs=0.02)


def test_equal_predictions_differ_by_nothing():
    labels, predicted = fits(7, 0.8, 0.7)
    found = compare(labels, predicted, predicted, metric="accuracy", num_classes=2)
    assert (found.difference.value, found.p) == (0.0, 1.0)
    assert (found.only_first_right, found.only_second_right) == (0, 0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_holm_goes_no_higher_than_one_and_keeps_the_order():
    assert holm([0.6, 0.5, 0.001]) == pytest.approx([1.0, 1.0, 0.003])


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


def grouped(seed, *, num_groups, size, spread):
    """Labels, groups, and two fits whose texts of one group are right alike: each group has a share of its own."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, size + 1, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    shares = np.clip(0.7 + spread * draw.standard_normal((2, num_groups)), 0, 1)[:, groups]
    labels = draw.integers(0, 2, len(groups))
    right = draw.random(shares.shape) < shares
    return labels, groups, np.where(right, labels, 1 - labels)


@pytest.mark.parametrize("metric", METRICS)
def test_interval_over_groups_is_that_of_a_plain_loop_that_draws_groups(metric):
    labels, groups, predicted = grouped(0, num_groups=30, size=9, spread=0.3)
    found = estimate(labels, predicted[:1], metric=metric, num_classes=2, groups_N=groups)
    draw, figures = np.random.default_rng(1), []
    for _ in range(1500):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in draw.integers(30, size=29)])
        figures.append(METRICS[metric](labels[rows], predicted[0][rows]))
    half = t.ppf(0.975, 29) * np.std(figures, ddof=1)
    assert found.value == pytest.approx(METRICS[metric](labels, predicted[0]), abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)
    assert found.high - found.low > 1.3 * np.diff(
        [
            *(
                getattr(estimate(labels, predicted[:1], metric=metric, num_classes=2), e)
                for e in ("low", "high")
            )
        ]
    )


def test_interval_over_groups_holds_the_truth_where_that_over_texts_does_not():
    held = {"groups": 0, "texts": 0}
    truth = np.clip(0.7 + 0.3 * np.random.default_rng(0).standard_normal(100_000), 0, 1).mean()
    for seed in range(200):
        labels, groups, predicted = grouped(seed, num_groups=25, size=12, spread=0.3)
        for name, given in (("groups", groups), ("texts", None)):
            found = estimate(labels, predicted[:1], metric="accuracy", num_classes=2, groups_N=given)
            held[name] += found.low <= truth <= found.high
    assert held["groups"] >= 179  # 95 % of 200 are 190
    assert held["texts"] <= 160


@pytest.mark.parametrize("metric", METRICS)
def test_p_over_groups_is_that_of_all_ways_to_swap_groups(metric):
    labels, groups, predicted = grouped(3, num_groups=9, size=8, spread=0.3)
    found = compare(labels, predicted[:1], predicted[1:], metric=metric, num_classes=2, groups_N=groups)
    observed = METRICS[metric](labels, predicted[0]) - METRICS[metric](labels, predicted[1])
    differences = []
    for swapped in itertools.product([False, True], repeat=9):
        swap = np.array(swapped)[groups]
        first, second = np.where(swap, predicted[1], predicted[0]), np.where(swap, predicted[0], predicted[1])
        differences.append(METRICS[metric](labels, first) - METRICS[metric](labels, second))
    expected = np.mean(np.abs(differences) >= abs(observed) - 1e-9)
    assert found.p == pytest.approx(expected, abs=0.02)
    assert found.p != compare(labels, predicted[:1], predicted[1:], metric=metric, num_classes=2).p


def test_p_over_groups_is_small_as_often_as_it_says_where_fits_are_alike():
    small = {"groups": 0, "texts": 0}
    for seed in range(100):
        labels, groups, predicted = grouped(seed, num_groups=25, size=12, spread=0.3)
        for name, given in (("groups", groups), ("texts", None)):
            found = compare(
                labels, predicted[:1], predicted[1:], metric="accuracy", num_classes=2, groups_N=given
            )
            small[name] += found.p < 0.05
    assert small["groups"] <= 11
    assert small["texts"] >= 20


def test_where_each_text_is_a_group_little_changes():
    labels, predicted = fits(7, 0.8, 0.75, 0.7, 0.7, count=300)
    found, plain = (
        compare(labels, predicted[:2], predicted[2:], metric="macro_f1", num_classes=2, groups_N=given)
        for given in (np.arange(300), None)
    )
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (plain.difference.low, plain.difference.high), abs=0.01
    )
    assert found.p == pytest.approx(plain.p, abs=0.015)


def test_one_group_shows_no_spread_and_no_difference():
    labels, predicted = fits(8, 0.9, 0.6, count=50)
    found = compare(
        labels,
        predicted[:1],
        predicted[1:],
        metric="accuracy",
        num_classes=2,
        groups_N=np.zeros(50, dtype=np.int64),
    )
    assert (found.difference.low, found.difference.high, found.p) == (None, None, 1.0)
    assert found.difference.value == pytest.approx(
        (predicted[0] == labels).mean() - (predicted[1] == labels).mean()
    )
