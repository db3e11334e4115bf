from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t

from search.analysis.luck import flattery

TEXTS = {"validation": [750, 750], "test": [1250, 1250]}


def fits(*figures):
    """Fits of a validation and a test figure each."""
    return [SimpleNamespace(validation_accuracy=v, test_accuracy=test) for v, test in figures]


def found(searched, *figures, texts=TEXTS, metric="accuracy"):
    return flattery(searched, fits(*figures), metric=metric, texts=texts)


def holds(difference, value=0.0):
    return difference.low <= value <= difference.high


def test_each_figure_is_held_against_the_next():
    luck = found(0.8713, (0.8713, 0.855), (0.8780, 0.860), (0.8847, 0.8626))
    assert luck.search_above_fresh.value == pytest.approx(0.8713 - 0.8780)
    assert luck.fresh_above_test.value == pytest.approx(0.8780 - 0.8592)
    assert luck.search_above_test.value == pytest.approx(0.8713 - 0.8592)


def test_two_points_between_1500_and_2500_texts_lie_within_their_error():
    luck = found(0.8713, (0.8713, 0.8592), (0.8780, 0.8592), (0.8847, 0.8592))
    assert all(holds(difference) for _, difference in luck)


def test_ten_points_between_them_do_not():
    luck = found(0.97, (0.970, 0.868), (0.971, 0.870), (0.972, 0.872))
    assert holds(luck.search_above_fresh)
    assert luck.fresh_above_test.low > 0.05
    assert luck.search_above_test.low > 0.05


def test_a_search_far_above_seeds_that_agree_was_lucky():
    assert found(0.90, (0.850, 0.85), (0.851, 0.85), (0.852, 0.85)).search_above_fresh.low > 0.04


def test_the_error_over_seeds_is_that_of_predicting_one_more_fit():
    validation = [0.84, 0.86, 0.85, 0.88]
    above = found(0.87, *((v, 0.8) for v in validation)).search_above_fresh
    half = t.ppf(0.975, 3) * np.std(validation, ddof=1) * np.sqrt(1 + 1 / 4)
    assert above.high - above.value == pytest.approx(half)


def test_the_error_over_seeds_holds_one_more_fit_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = sum(
        holds(found(own, *((v, None) for v in others)).search_above_fresh)
        for own, *others in draw.normal(0.8, 0.02, size=(400, 4))
    )
    assert 366 <= held <= 393  # 380 expected; each bound is three standard errors away


def test_the_error_over_texts_is_binomial_for_a_single_fit():
    above = found(0.88, (0.87, 0.86)).fresh_above_test
    half = 1.96 * np.sqrt(0.87 * 0.13 / 1500 + 0.86 * 0.14 / 2500)
    assert above.high - above.value == pytest.approx(half, rel=0.002)


def test_a_rare_class_makes_balanced_figures_less_sure():
    rare = {"validation": [1490, 10], "test": [2480, 20]}
    wide, narrow = (
        found(0.88, (0.87, 0.86), texts=texts, metric="balanced_accuracy").fresh_above_test
        for texts in (rare, TEXTS)
    )
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


def test_of_a_single_seed_the_spread_is_not_known():
    luck = found(0.88, (0.87, 0.86))
    assert luck.search_above_fresh.plain() == {"value": pytest.approx(0.01), "low": None, "high": None}
    assert luck.search_above_test.plain() == {"value": pytest.approx(0.02), "low": None, "high": None}


def test_what_was_not_measured_is_compared_with_nothing():
    assert found(None, (0.87, None), (0.88, None)).plain() == dict.fromkeys(
        ("search_above_fresh", "fresh_above_test", "search_above_test")
    )
    assert found(0.9, (None, None)).search_above_fresh is None


def test_without_the_number_of_texts_the_error_over_texts_is_not_known():
    luck = found(0.88, (0.87, 0.86), (0.88, 0.85), texts=None)
    assert luck.fresh_above_test.low is None
    assert luck.search_above_fresh.low is not None


def test_seeds_that_agree_to_the_text_do_not_say_that_there_is_no_error():
    above = found(0.88, (0.87, 0.86), (0.87, 0.86), (0.87, 0.86)).search_above_fresh
    assert (above.low, above.high) == (None, None)


def test_texts_of_a_group_count_as_one_where_groups_are_even():
    texts = {"validation": [100, 100], "test": [150, 150]}
    pairs = [(0.86, 0.80), (0.86, 0.80)]
    sizes = {"validation": [10] * 20, "test": [10] * 30}
    by_groups = flattery(0.86, fits(*pairs), metric="accuracy", texts=texts, group_sizes=sizes)
    few = {"validation": [10, 10], "test": [15, 15]}
    assert by_groups == flattery(0.86, fits(*pairs), metric="accuracy", texts=few)
    assert by_groups.fresh_above_test.high > 2 * found(0.86, *pairs, texts=texts).fresh_above_test.high
