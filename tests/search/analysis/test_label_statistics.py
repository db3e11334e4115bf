import numpy as np
import pytest
from scipy.stats import permutation_test

from search.analysis import accuracy_of, compare, estimate
from search.analysis.label_statistics import permutation_p, weighed
from trainers.fit import Answers, measure

METRICS = ("micro_f1", "macro_f1", "subset_accuracy", "average_precision")


def some_answers(num_texts=40, num_labels=3, skill=0.6, seed=0, ties=False):
    draw = np.random.default_rng(seed)
    labels_NC = (np.random.default_rng(9).random((num_texts, num_labels)) < 0.35).astype(np.int64)
    probabilities_NC = skill * labels_NC * draw.random(labels_NC.shape) + (1 - skill / 2) * draw.random(
        labels_NC.shape
    )
    probabilities_NC = np.clip(probabilities_NC, 0, 1)
    return labels_NC, np.round(probabilities_NC, 1) if ties else probabilities_NC


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_texts_that_count_several_times_are_measured_as_if_they_stood_so_often(metric, ties):
    labels_NC, probabilities_NC = some_answers(ties=ties)
    weights_RN = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=20)
    found = weighed(labels_NC, probabilities_NC, metric=metric)(weights_RN.astype(float))
    repeated = [
        measure(
            Answers(np.repeat(labels_NC, w, axis=0), np.repeat(probabilities_NC, w, axis=0)), metric=metric
        )
        for w in weights_RN
    ]
    np.testing.assert_allclose(found, repeated, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_estimate_is_the_metric_inside_its_interval(metric):
    labels_NC, probabilities_NC = some_answers(200)
    found = estimate(labels_NC, probabilities_NC[None], metric=metric, num_classes=3)
    own = accuracy_of(labels_NC, probabilities_NC, metric=metric, num_classes=3)
    assert found.value == pytest.approx(own)
    assert found.low < found.value < found.high


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(0)

    def drawn(count):
        labels = (draw.random((count, 3)) < 0.3).astype(np.int64)
        wrong = draw.random((count, 3)) < np.where(labels == 1, 0.3, 0.1)
        return labels, np.abs(labels - wrong).astype(float)

    truth = accuracy_of(*drawn(200_000), metric="micro_f1", num_classes=3)
    found = [
        estimate(labels, answers[None], metric="micro_f1", num_classes=3)
        for labels, answers in (drawn(150) for _ in range(60))
    ]
    assert sum(e.low <= truth <= e.high for e in found) >= 52


@pytest.mark.parametrize("metric", METRICS)
def test_p_is_that_of_swapping_the_answers_of_texts(metric):
    labels_NC, first_NC = some_answers(9, skill=0.8)
    _, second_NC = some_answers(9, skill=0.5, seed=1)
    own = permutation_p(
        labels_NC, first_NC[None], second_NC[None], metric=metric, num_swaps=1999, group_N=np.arange(9)
    )
    rows = np.arange(9)

    def difference(first, second):
        answers = np.stack([first_NC, second_NC])
        a, b = (answers[which.astype(int), rows] for which in (first, second))
        return measure(Answers(labels_NC, a), metric=metric) - measure(Answers(labels_NC, b), metric=metric)

    swapped = permutation_test(
        (np.zeros(9), np.ones(9)),
        difference,
        permutation_type="samples",
        n_resamples=2**9,
    )
    assert own == pytest.approx(swapped.pvalue, abs=0.04)


def test_equal_answers_do_not_differ():
    labels_NC, probabilities_NC = some_answers()
    found = compare(
        labels_NC, probabilities_NC[None], probabilities_NC[None], metric="micro_f1", num_classes=3
    )
    assert (found.p, found.difference.value, found.only_first_right) == (1.0, 0.0, 0)


def test_a_text_is_right_if_all_its_labels_are():
    labels_NC = np.array([[1, 0], [1, 1], [0, 0]])
    first, second = (
        np.array([[0.9, 0.1], [0.9, 0.2], [0.1, 0.1]]),
        np.array([[0.9, 0.1], [0.9, 0.9], [0.6, 0.1]]),
    )
    found = compare(labels_NC, first[None], second[None], metric="subset_accuracy", num_classes=2)
    assert (found.only_first_right, found.only_second_right) == (1, 1)


def test_texts_of_one_group_are_drawn_and_swapped_together():
    labels_NC, first_NC = some_answers(40, skill=0.8)
    _, second_NC = some_answers(40, skill=0.5, seed=1)
    alone = compare(labels_NC, first_NC[None], second_NC[None], metric="micro_f1", num_classes=3)
    four_times = [np.repeat(a, 4, axis=0) for a in (labels_NC, first_NC, second_NC)]
    grouped = compare(
        four_times[0],
        four_times[1][None],
        four_times[2][None],
        metric="micro_f1",
        num_classes=3,
        groups_N=np.repeat(np.arange(40), 4),
    )
    assert grouped.p == alone.p
    width = [found.difference.high - found.difference.low for found in (alone, grouped)]
    assert width[1] == pytest.approx(width[0], rel=0.1)
