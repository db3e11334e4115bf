import numpy as np
import pytest
from toys import CONFIRMATION

from search.analysis import Outcome
from search.report.reliability import believed, reliability_figure
from trainers.fit import Answered, calibrate


def answered(*, too_sure, num_texts=600, seed=3):
    """Logits of two classes, as many times too large."""
    random = np.random.default_rng(seed)
    true_N = random.normal(0, 2, num_texts)
    labels_N = (random.random(num_texts) < 1 / (1 + np.exp(-true_N))).astype(np.int64)
    return Answered(np.stack([np.zeros(num_texts), too_sure * true_N], axis=1), labels_N)


def outcome(*, too_sure=3.0, test=True):
    tested = answered(too_sure=too_sure, seed=4) if test else None
    found = calibrate(answered(too_sure=too_sure), tested)
    return found, Outcome.model_validate(CONFIRMATION | {"words": None, "calibration": found.plain()})


def test_the_errors_before_and_after_are_said_on_validation_and_on_the_test_split():
    found, stored = outcome()
    kept = stored.calibration
    first, second = believed(stored)

    def said(when):
        return " and ".join(
            f"{100 * getattr(split, when).error:.2f} % on {name}"
            for name, split in (("validation", kept.validation), ("the test split", kept.test))
        )

    assert first.startswith(
        f"Probabilities of the winner's fit with seed 101, the one that an export gives: expected calibration error {said('before')}; "
        "right ones would show about "
    )
    assert second == (
        f"With its logits divided by {found.temperature:g}, the temperature that validation calls for: {said('after')}."
    )


def test_probabilities_that_are_left_alone_say_why():
    found, stored = outcome(too_sure=1.0)
    assert found.reason is not None
    assert list(believed(stored))[1] == f"They are left as they are: {found.reason}."


def test_without_a_test_split_validation_stands_alone():
    assert "the test split" not in " ".join(believed(outcome(test=False)[1]))


def test_a_confirmation_that_looked_at_no_probability_says_nothing_of_them():
    assert list(believed(Outcome.model_validate(CONFIRMATION | {"words": None}))) == []


def test_the_curve_is_drawn_before_and_after_beside_the_line_of_right_probabilities():
    _, stored = outcome()
    split = stored.calibration.test
    line, before, after = reliability_figure(split, is_scaled=True).data
    assert (list(line.x), list(line.y)) == ([0, 1], [0, 1])
    assert (list(before.x), list(before.y)) == (split.before.confidences, split.before.accuracies)
    assert (list(after.x), list(after.y)) == (split.after.confidences, split.after.accuracies)
    assert before.hovertext[0].startswith("before: 40 answers<br>probability ")


def test_without_a_temperature_there_is_one_curve():
    _, stored = outcome(too_sure=1.0)
    _, only = reliability_figure(stored.calibration.validation, is_scaled=False).data
    assert only.name == "as fitted"


@pytest.mark.parametrize("confidence", [0.5, 1.0])
def test_every_point_lies_within_the_axes(confidence):
    logits_NC = np.tile([0.0, 0.0 if confidence == 0.5 else 60.0], (20, 1))
    found = calibrate(Answered(logits_NC, np.arange(20, dtype=np.int64) % 2))
    stored = Outcome.model_validate(CONFIRMATION | {"words": None, "calibration": found.plain()})
    figure = reliability_figure(stored.calibration.validation, is_scaled=False)
    (low_x, high_x), (low_y, high_y) = figure.layout.xaxis.range, figure.layout.yaxis.range
    for x, y in zip(figure.data[1].x, figure.data[1].y, strict=True):
        assert low_x < x < high_x
        assert low_y < y < high_y
