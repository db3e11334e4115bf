import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import accuracy_score, log_loss

from trainers.metrics import accuracy, cross_entropy, standard_error


@st.composite
def predictions(draw):
    seed, count, classes = draw(st.integers(0, 2**32)), draw(st.integers(1, 50)), draw(st.integers(2, 5))
    generator = np.random.default_rng(seed)
    logits_NC = generator.normal(scale=draw(st.floats(0.1, 4)), size=(count, classes))
    return logits_NC, generator.integers(0, classes, count)


@given(predictions())
def test_accuracy_is_scikit_learns(case):
    logits_NC, labels_N = case
    expected = accuracy_score(labels_N, logits_NC.argmax(axis=1))
    assert accuracy(torch.from_numpy(logits_NC), torch.from_numpy(labels_N)) == pytest.approx(expected)


@given(predictions())
def test_cross_entropy_is_scikit_learns_log_loss(case):
    logits_NC, labels_N = case
    probabilities_NC = torch.from_numpy(logits_NC).softmax(dim=1).numpy()
    expected = log_loss(labels_N, probabilities_NC, labels=range(logits_NC.shape[1]))
    found = cross_entropy(torch.from_numpy(logits_NC), torch.from_numpy(labels_N))
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-6)


def test_accuracy_of_no_text_is_nan():
    assert math.isnan(accuracy(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)))


def test_cross_entropy_of_no_text_is_nan():
    assert math.isnan(cross_entropy(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)))


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_standard_error_is_that_of_the_binomial_distribution(right, count):
    share = min(right, count) / count
    assert standard_error(share, count) == pytest.approx(binom.std(count, share) / count, abs=1e-12)
