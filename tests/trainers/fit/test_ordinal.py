import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, cohen_kappa_score, mean_absolute_error

from trainers.fit.metrics import answers, effective_count, interval, is_share, measure, tally, together
from trainers.fit.ordinal import median_class, on_scale, quadratic_kappa, quadratic_kappas
from trainers.fit.several import Answers


def counts_of(labels_N, predicted_N, num_classes):
    return np.bincount(labels_N * num_classes + predicted_N, minlength=num_classes**2).reshape(
        num_classes, -1
    )


def draws(seed, *, count=40, num_classes=5):
    draw = np.random.default_rng(seed)
    return draw.integers(num_classes, size=(2, count))


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_figures_on_a_scale_are_scikit_learns(seed, num_classes):
    labels_N, predicted_N = draws(seed, num_classes=num_classes)
    counts_CC = counts_of(labels_N, predicted_N, num_classes)
    found = on_scale(counts_CC)
    kappa = cohen_kappa_score(labels_N, predicted_N, weights="quadratic", labels=range(num_classes))
    assert found.quadratic_kappa == pytest.approx(kappa, abs=1e-12)
    assert measure(counts_CC, metric="quadratic_kappa") == found.quadratic_kappa
    assert found.mean_absolute_error == pytest.approx(mean_absolute_error(labels_N, predicted_N))
    assert found.accuracy == pytest.approx(accuracy_score(labels_N, predicted_N))


def test_kappa_of_turned_answers_lies_below_zero():
    labels_N = np.array([0, 0, 1, 2, 2])
    assert quadratic_kappa(counts_of(labels_N, 2 - labels_N, 3)) == -1


def test_kappa_of_the_same_answer_to_all_is_zero_even_where_all_are_right():
    labels_N = np.array([0, 1, 2, 2])
    assert quadratic_kappa(counts_of(labels_N, np.full(4, 1), 3)) == 0
    assert quadratic_kappa(counts_of(np.full(4, 1), np.full(4, 1), 3)) == 0


def test_no_text_has_no_figures():
    assert all(math.isnan(value) for value in on_scale(np.zeros((3, 3), dtype=np.int64)).plain().values())


def test_kappas_of_many_resamples_are_those_of_each():
    rows = [draws(seed, num_classes=4) for seed in range(6)]
    expected = [quadratic_kappa(counts_of(labels, predicted, 4)) for labels, predicted in rows]
    found = quadratic_kappas(
        np.array([((labels - predicted) ** 2).sum() for labels, predicted in rows]),
        np.array([np.bincount(labels, minlength=4) for labels, _ in rows]),
        np.array([np.bincount(predicted, minlength=4) for _, predicted in rows]),
    )
    assert found == pytest.approx(expected)


@given(st.integers(0, 2**32))
def test_the_median_class_is_the_answer_fewest_steps_off(seed):
    row_C = np.random.default_rng(seed).dirichlet(np.full(5, 0.5))
    off = [(row_C * np.abs(np.arange(5) - answer)).sum() for answer in range(5)]
    assert median_class(row_C[None])[0] == np.argmin(off)


def test_by_kappa_a_text_is_taken_for_the_median_and_not_for_the_most_probable_class():
    logits_NC = torch.tensor([[0.4, 0.1, 0.2, 0.3], [0.1, 0.2, 0.1, 0.6]]).log()
    assert answers(logits_NC, metric="quadratic_kappa").tolist() == [1, 3]
    assert answers(logits_NC, metric="accuracy").tolist() == [0, 3]
    labels_N = torch.tensor([1, 3])
    assert measure(tally(logits_NC, labels_N, metric="quadratic_kappa"), metric="quadratic_kappa") == 1
    assert measure(tally(logits_NC, labels_N, metric="accuracy"), metric="accuracy") == 0.5


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0, 1]))
def test_average_precision_of_two_classes_is_scikit_learns_ties_or_not(seed, ties, positive):
    draw = np.random.default_rng(seed)
    logits_NC = draw.integers(3, size=(40, 2)).astype(float) if ties else draw.normal(size=(40, 2))
    labels_N = np.array([0, 1, *draw.integers(2, size=38)])
    parts = [
        tally(
            torch.tensor(logits_NC[rows]),
            torch.tensor(labels_N[rows]),
            metric="average_precision",
            positive=positive,
        )
        for rows in (slice(0, 15), slice(15, 40))
    ]
    scores_N = torch.tensor(logits_NC).softmax(dim=1)[:, positive].numpy()
    expected = average_precision_score(labels_N == positive, scores_N)
    assert measure(together(*parts), metric="average_precision") == pytest.approx(expected)


def test_average_precision_without_a_positive_text_is_scikit_learns_zero():
    nothing = Answers(np.zeros((3, 1), dtype=np.int64), np.array([[0.1], [0.5], [0.9]]))
    assert measure(nothing, metric="average_precision") == 0


def test_a_metric_that_is_none_of_these_is_an_error():
    with pytest.raises(ValueError, match="no metric of which class was taken for which, got 'micro_f1'"):
        measure(np.eye(2, dtype=np.int64), metric="micro_f1")
    with pytest.raises(ValueError, match="no metric of labels, got 'accuracy'"):
        measure(Answers(np.ones((2, 2), dtype=np.int64), np.ones((2, 2))), metric="accuracy")


def test_of_kappa_and_average_precision_no_sample_is_taken_for_a_share():
    assert is_share("accuracy", "one_label")
    assert not is_share("quadratic_kappa", "one_label")
    assert not is_share("average_precision", "one_label")
    assert not is_share("macro_f1", "several_labels")
    counts_CC = np.diag([30, 10])
    assert effective_count(counts_CC, metric="quadratic_kappa") == 0
    assert interval(counts_CC, metric="quadratic_kappa") == (-1.0, 1.0)
    assert effective_count(counts_CC, metric="average_precision") == 10


@pytest.mark.parametrize("distance", [0.8, 1.8])
@pytest.mark.parametrize("num_positive", [20, 60])
def test_the_standard_error_of_average_precision_is_no_smaller_than_what_samples_show(num_positive, distance):
    draw = np.random.default_rng(0)
    labels_N = (np.arange(600) < num_positive).astype(int)
    found = [
        average_precision_score(labels_N, draw.normal(size=600) + distance * labels_N) for _ in range(200)
    ]
    share, count = (
        np.mean(found),
        effective_count(np.diag([600 - num_positive, num_positive]), metric="average_precision"),
    )
    assert np.std(found) <= 1.1 * math.sqrt(share * (1 - share) / count)
