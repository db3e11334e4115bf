import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import binom, binomtest, sem
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)
from sklearn.utils.class_weight import compute_sample_weight

from trainers.fit.losses import balanced_weights
from trainers.fit.metrics import (
    confusion,
    cross_entropy,
    effective_count,
    interval,
    is_clear_of,
    losses,
    measure,
    standard_error,
    weighted_mean,
)

METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


@st.composite
def predictions(draw):
    seed, count, classes = draw(st.integers(0, 2**32)), draw(st.integers(1, 50)), draw(st.integers(2, 5))
    generator = np.random.default_rng(seed)
    logits_NC = generator.normal(scale=draw(st.floats(0.1, 4)), size=(count, classes))
    shares_C = generator.dirichlet(np.full(classes, draw(st.sampled_from([0.2, 1.0, 100.0]))))
    return logits_NC, generator.choice(classes, count, p=shares_C)


def counts_of(case):
    logits_NC, labels_N = case
    return confusion(torch.from_numpy(logits_NC), torch.from_numpy(labels_N))


def by_scikit_learn(labels_N, predicted_N, metric):
    if metric == "accuracy":
        return accuracy_score(labels_N, predicted_N)
    if metric == "macro_f1":
        return f1_score(labels_N, predicted_N, average="macro", zero_division=0)
    # balanced_accuracy_score itself warns of classes that were only predicted, and leaves them out as well.
    return recall_score(labels_N, predicted_N, average="macro", labels=np.unique(labels_N))


@given(predictions())
def test_confusion_is_scikit_learns(case):
    logits_NC, labels_N = case
    expected = confusion_matrix(labels_N, logits_NC.argmax(axis=1), labels=range(logits_NC.shape[1]))
    assert counts_of(case).tolist() == expected.tolist()


@pytest.mark.parametrize("metric", METRICS)
@given(predictions())
def test_a_metric_is_scikit_learns(metric, case):
    logits_NC, labels_N = case
    expected = by_scikit_learn(labels_N, logits_NC.argmax(axis=1), metric)
    assert measure(counts_of(case), metric=metric) == pytest.approx(expected, abs=1e-12)


@given(predictions())
def test_accuracy_is_the_share_of_right_answers_to_the_bit(case):
    logits_NC, labels_N = (torch.from_numpy(a) for a in case)
    right = (logits_NC.argmax(dim=1) == labels_N).double()
    assert measure(counts_of(case), metric="accuracy") == int(right.sum()) / len(right) == float(right.mean())


@pytest.mark.parametrize("metric", METRICS)
@given(predictions(), st.integers(0, 50))
def test_counts_of_two_parts_add_up_to_those_of_the_whole(metric, case, cut):
    parts = [counts_of(tuple(a[part] for a in case)) for part in (slice(cut), slice(cut, None))]
    assert measure(parts[0] + parts[1], metric=metric) == measure(counts_of(case), metric=metric)


@given(predictions())
def test_cross_entropy_is_scikit_learns_log_loss(case):
    logits_NC, labels_N = case
    probabilities_NC = torch.from_numpy(logits_NC).softmax(dim=1).numpy()
    expected = log_loss(labels_N, probabilities_NC, labels=range(logits_NC.shape[1]))
    found = cross_entropy(torch.from_numpy(logits_NC), torch.from_numpy(labels_N))
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-6)


@given(predictions())
def test_weighted_cross_entropy_is_scikit_learns_log_loss_with_sample_weights(case):
    logits_NC, labels_N = case
    weights_C = torch.from_numpy(balanced_weights(labels_N, num_classes=logits_NC.shape[1]))
    expected = log_loss(
        labels_N,
        torch.from_numpy(logits_NC).softmax(dim=1).numpy(),
        labels=range(logits_NC.shape[1]),
        sample_weight=compute_sample_weight("balanced", labels_N),
    )
    found = cross_entropy(torch.from_numpy(logits_NC), torch.from_numpy(labels_N), weights_C=weights_C)
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_of_no_text_is_nan(metric):
    assert math.isnan(measure(np.zeros((2, 2), dtype=np.int64), metric=metric))


def test_cross_entropy_of_no_text_is_nan():
    assert math.isnan(cross_entropy(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)))


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_standard_error_is_that_of_the_binomial_distribution(right, count):
    share = min(right, count) / count
    assert standard_error(share, count) == pytest.approx(binom.std(count, share) / count, abs=1e-12)


def test_for_accuracy_every_text_counts():
    assert effective_count(np.array([[3, 1], [0, 0]]), metric="accuracy") == 4


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_where_classes_are_even_every_text_counts(metric):
    assert effective_count(np.array([[30, 10], [20, 20]]), metric=metric) == 80


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_a_sample_without_one_of_the_classes_tells_nothing(metric):
    counts_CC = np.array([[300, 0], [0, 0]])
    assert effective_count(counts_CC, metric=metric) == 0
    assert not is_clear_of(0.1, counts_CC, metric=metric)


def samples(metric, texts_C, share):
    """Return the metric of 4,000 samples in which each text is right with one chance, else any other class."""
    generator = np.random.default_rng(5)
    classes = len(texts_C)
    chances_CC = np.full((classes, classes), (1 - share) / (classes - 1))
    np.fill_diagonal(chances_CC, share)
    rows = [generator.multinomial(n, p, size=4000) for n, p in zip(texts_C, chances_CC, strict=True)]
    return [measure(counts_CC, metric=metric) for counts_CC in np.stack(rows, axis=1)]


# 4,000 samples tell a standard deviation within 1.1 %; three times that is allowed.
@pytest.mark.parametrize("texts_C", [(100, 100, 100), (200, 80, 20), (280, 20)])
@pytest.mark.parametrize("share", [0.8, 0.92])
def test_the_standard_error_of_balanced_accuracy_is_what_samples_show(texts_C, share):
    found = np.std(samples("balanced_accuracy", texts_C, share))
    count = effective_count(np.diag(texts_C), metric="balanced_accuracy")
    assert standard_error(share, count) == pytest.approx(found, rel=0.034)


@pytest.mark.parametrize("texts_C", [(100, 100, 100), (200, 80, 20), (280, 20)])
@pytest.mark.parametrize("share", [0.8, 0.92])
def test_the_standard_error_of_macro_f1_is_no_smaller_than_what_samples_show(texts_C, share):
    figures = samples("macro_f1", texts_C, share)
    count = effective_count(np.diag(texts_C), metric="macro_f1")
    assert np.std(figures) < 1.034 * standard_error(np.mean(figures), count)


@pytest.mark.parametrize(
    ("right", "clear"), [(850, True), (897, True), (905, False), (935, False), (943, True)]
)
def test_two_standard_errors_part_a_sample_from_a_bound(right, clear):
    # At 92 % and 1,000 texts a standard error is 0.858 points.
    counts_CC = np.array([[right, 1000 - right], [0, 0]])
    assert is_clear_of(0.92, counts_CC, metric="accuracy") is clear


def test_of_nearly_all_texts_less_is_unknown_and_the_bound_is_clear_sooner():
    counts_CC = np.array([[905, 95], [0, 0]])
    assert not is_clear_of(0.92, counts_CC, metric="accuracy", of=10_000)
    assert is_clear_of(0.92, counts_CC, metric="accuracy", of=1200)
    assert not is_clear_of(0.92, counts_CC, metric="accuracy", of=1200, errors=5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_an_accuracy_is_wilsons(case):
    right, count = case
    expected = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    counts_CC = np.array([[right, count - right], [0, 0]])
    found = interval(counts_CC, metric="accuracy")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_balanced_accuracy_is_that_of_as_many_even_texts():
    uneven_CC = np.array([[30, 10], [10, 10]])
    count = effective_count(uneven_CC, metric="balanced_accuracy")
    low, high = interval(uneven_CC, metric="balanced_accuracy")
    even = binomtest(round(0.625 * count), round(count)).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((even.low, even.high), abs=0.01)


def test_a_class_without_a_text_leaves_anything_possible():
    assert interval(np.array([[3, 1], [0, 0]]), metric="macro_f1") == (0.0, 1.0)


@given(predictions())
def test_losses_are_those_whose_mean_is_the_cross_entropy(case):
    logits_NC, labels_N = torch.from_numpy(case[0]), torch.from_numpy(case[1])
    assert losses(logits_NC, labels_N).mean() == pytest.approx(cross_entropy(logits_NC, labels_N))


@given(predictions())
def test_the_weighted_mean_of_all_losses_is_the_weighted_cross_entropy(case):
    logits_NC, labels_N = torch.from_numpy(case[0]), torch.from_numpy(case[1])
    weights_C = torch.linspace(0.5, 2.0, logits_NC.shape[1])
    found, error = weighted_mean(
        losses(logits_NC, labels_N), weights_N=weights_C[labels_N].double().numpy(), of=len(labels_N)
    )
    assert found == pytest.approx(cross_entropy(logits_NC, labels_N, weights_C=weights_C))
    assert error == 0.0


@given(st.integers(0, 1000), st.integers(2, 50), st.integers(1, 50))
def test_the_error_of_a_mean_is_scipys_but_for_what_is_left_to_see(seed, count, left):
    values_N = np.random.default_rng(seed).normal(size=count)
    mean, error = weighted_mean(values_N, of=count + left)
    assert mean == pytest.approx(values_N.mean())
    assert error == pytest.approx(sem(values_N) * math.sqrt(left / (count + left)))


def test_a_single_text_of_several_tells_nothing():
    assert weighted_mean(np.array([0.3]), of=2) == (0.3, math.inf)


# 4,000 samples tell a standard deviation within 1.1 %; the error of a ratio is itself a first-order one.
def test_the_error_of_a_weighted_mean_is_what_samples_show():
    generator = np.random.default_rng(2)
    labels_N = generator.random(1500) < 0.2
    values_N, weights_N = generator.normal(size=1500) + labels_N, np.where(labels_N, 2.5, 0.625)
    found = []
    for _ in range(4000):
        rows = generator.permutation(1500)[:300]
        found.append(weighted_mean(values_N[rows], weights_N=weights_N[rows], of=1500))
    means, errors = np.array(found).T
    assert errors.mean() == pytest.approx(means.std(), rel=0.04)
    assert means.mean() == pytest.approx(np.average(values_N, weights=weights_N), abs=0.005)


def test_a_random_sample_tells_its_split_as_surely_where_texts_come_in_groups():
    """Looks ask about the split at hand: texts are drawn from it one by one, so that groups make no sample worse."""
    draw = np.random.default_rng(0)
    shares = np.repeat(np.clip(0.7 + 0.4 * draw.standard_normal(60), 0, 1), 20)
    right = (draw.random(1200) < shares).astype(float)
    told, misled, errors = [], 0, []
    for seed in range(1000):
        sample = right[np.random.default_rng(seed).permutation(1200)[:300]]
        mean, error = weighted_mean(sample, of=1200)
        told.append(mean)
        errors.append(error)
        wrong = round((1 - mean) * 300)
        counts = np.array([[300 - wrong, wrong], [0, 0]])
        misled += is_clear_of(right.mean(), counts, metric="accuracy", of=1200)
    assert np.std(told) == pytest.approx(np.mean(errors), rel=0.06)
    assert misled <= 70  # beyond two standard errors: 4.6 % of 1000
