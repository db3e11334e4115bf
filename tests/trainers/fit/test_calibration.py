"""Temperature, calibration error and abstaining, against scikit-learn, plain loops and made truths."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss as sklearn_log_loss

from trainers.fit.calibration import (
    NUM_BINS,
    Answered,
    calibrate,
    choose_temperature,
    coverage,
    likeliest_temperature,
    log_loss,
    probabilities,
    reliability,
)


def made(num_texts=4000, num_classes=3, *, sharpness=1.0, seed=0):
    """Logits, ``sharpness`` times too large, and labels drawn as the true ones say."""
    rng = np.random.default_rng(seed)
    logits_NC = rng.normal(size=(num_texts, num_classes)) * 1.5
    drawn_N = rng.random(num_texts)[:, None]
    labels_N = (probabilities(logits_NC).cumsum(axis=1) < drawn_N).sum(axis=1)
    return logits_NC * sharpness, labels_N


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_finds_what_logits_are_too_large_by(sharpness):
    logits_NC, labels_N = made(sharpness=sharpness)
    assert likeliest_temperature(logits_NC, labels_N) == pytest.approx(sharpness, rel=0.06)


def test_the_temperature_is_the_best_of_a_fine_grid():
    logits_NC, labels_N = made(200, sharpness=2)
    grid = np.exp(np.linspace(math.log(0.2), math.log(10), 4001))
    losses = [log_loss(logits_NC / t, labels_N) for t in grid]
    assert likeliest_temperature(logits_NC, labels_N) == pytest.approx(grid[np.argmin(losses)], rel=2e-3)


def test_log_loss_is_that_of_scikit_learn():
    logits_NC, labels_N = made(50)
    assert log_loss(logits_NC, labels_N) == pytest.approx(
        sklearn_log_loss(labels_N, probabilities(logits_NC))
    )


def test_the_temperature_changes_no_label_and_lowers_the_loss():
    answered = Answered(*made(sharpness=3))
    found = calibrate(answered)
    assert found.reason is None
    scaled_NC = answered.logits_NC / found.temperature
    assert (scaled_NC.argmax(axis=1) == answered.logits_NC.argmax(axis=1)).all()
    assert found.validation.after.log_loss < found.validation.before.log_loss
    assert found.validation.after.error < found.validation.before.error


def test_the_test_split_has_no_part_in_the_temperature():
    validation, test = Answered(*made(sharpness=3)), Answered(*made(sharpness=0.5, seed=1))
    assert calibrate(validation, test).temperature == calibrate(validation).temperature
    assert calibrate(validation, test).test.num_texts == 4000


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (np.empty((0, 2)), [], "no text to fit it on"),
        ([[np.inf, 0.0], [0.0, 1.0]], [0, 0], "some logits are not finite"),
        (
            [[1.0, 0.0], [0.0, 1.0]],
            [0, 1],
            "every validation text is right, so that none says how sure is too sure",
        ),
        ([[1.0, 0.0], [0.0, 1.0]], [1, 0], "none between 0.05 and 20 is the likeliest one"),
    ],
)
def test_logits_are_left_alone_where_validation_cannot_say(logits, labels, reason):
    assert choose_temperature(np.asarray(logits), np.asarray(labels, dtype=np.int64)) == (1.0, reason)


def test_logits_that_are_right_already_are_left_alone():
    temperature, reason = choose_temperature(*made(300))
    assert temperature == 1
    assert reason.startswith("validation gains 0.")


def test_a_class_that_validation_lacks_is_no_hindrance():
    logits_NC, labels_N = made(sharpness=3)
    found = labels_N != 2
    assert calibrate(Answered(logits_NC[found], labels_N[found])).reason is None


def test_bins_are_those_of_scikit_learn():
    logits_NC, labels_N = made(998, num_classes=2)  # of which none stands on an edge
    p_N = probabilities(logits_NC)
    confidences_N, right_N = p_N.max(axis=1), p_N.argmax(axis=1) == labels_N
    found = reliability(confidences_N, right_N, log_loss=0.0)
    accuracies, confidences = calibration_curve(right_N, confidences_N, n_bins=NUM_BINS, strategy="quantile")
    assert list(found.accuracies) == pytest.approx(accuracies.tolist())
    assert list(found.confidences) == pytest.approx(confidences.tolist())
    assert sum(found.counts) == 998
    assert found.error == pytest.approx(sum(np.abs(accuracies - confidences) * np.array(found.counts)) / 998)


def test_the_error_by_chance_is_that_of_right_probabilities():
    rng = np.random.default_rng(0)
    confidences_N = rng.uniform(0.5, 1, size=300)
    drawn = [reliability(confidences_N, rng.random(300) < confidences_N, log_loss=0.0) for _ in range(400)]
    assert np.mean([d.error for d in drawn]) == pytest.approx(drawn[0].by_chance, rel=0.05)


def test_equal_probabilities_are_one_bin():
    found = reliability(np.full(20, 0.75), np.arange(20) < 10, log_loss=0.0)
    assert (found.counts, found.accuracies, found.error) == ((20,), (0.5,), 0.25)


def test_abstaining_keeps_what_is_as_sure():
    confidences_N, right_N = np.array([0.5, 0.6, 0.9, 0.95]), np.array([False, True, True, False])
    rows = {row.abstain_below: row for row in coverage(confidences_N, right_N)}
    assert min(rows) == 0.5  # nothing is held back below it, and below that neither
    for bound, row in rows.items():
        kept = [right for p, right in zip(confidences_N, right_N, strict=True) if p >= bound]
        assert row.coverage == len(kept) / 4
        assert row.accuracy == (sum(kept) / len(kept) if kept else None)
    assert rows[0.99].accuracy is None


def test_what_is_kept_is_json():
    found = calibrate(Answered(np.empty((0, 2)), np.empty(0, dtype=np.int64))).plain()
    assert found["validation"]["before"]["error"] is None
    assert found["validation"]["coverage"][0]["accuracy"] is None
