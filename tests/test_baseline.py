import copy
import dataclasses

import numpy as np
import pytest

from search import baseline
from search.baseline import Aim, choose_aim, measure_baseline


def test_words_tell_the_classes_of_the_tiny_reviews(tiny_splits):
    assert measure_baseline(tiny_splits, metric="accuracy") > 0.9


def test_shuffled_labels_leave_nothing_to_tell(tiny_splits):
    generator = np.random.default_rng(0)
    reached = []
    for _ in range(20):
        labels_N = generator.permutation(tiny_splits.train.labels_N)
        train = dataclasses.replace(tiny_splits.train, labels_N=labels_N)
        reached.append(
            measure_baseline(dataclasses.replace(tiny_splits, train=train), metric="accuracy") - 0.5
        )
    # Texts share their words, so that one shuffle may land far on either side: it is the mean that is at chance.
    assert abs(np.mean(reached)) < 3 * np.std(reached) / np.sqrt(20)


def test_the_baseline_is_in_the_metric_asked_for(tiny_splits):
    everything_positive = dataclasses.replace(
        tiny_splits,
        validation=dataclasses.replace(
            tiny_splits.validation, labels_N=np.ones_like(tiny_splits.validation.labels_N)
        ),
    )
    accuracy, macro_f1 = (measure_baseline(everything_positive, metric=m) for m in ("accuracy", "macro_f1"))
    # With one class in the truth, and accuracy p: the other's F1 is 0, and its own 2 p / (1 + p).
    assert macro_f1 == pytest.approx(accuracy / (1 + accuracy))


def test_the_splits_stay_as_they_were(tiny_splits):
    before = copy.deepcopy(tiny_splits)
    measure_baseline(tiny_splits, metric="accuracy")
    for name in ("train", "validation"):
        now, then = getattr(tiny_splits, name), getattr(before, name)
        assert np.array_equal(now.ids_S, then.ids_S)
        assert np.array_equal(now.offsets_N1, then.offsets_N1)


@pytest.mark.parametrize(
    ("reached", "aim"),
    [
        (0.6, Aim(0.6, 0.85, 0.92)),
        (0.8499, Aim(0.8499, 0.85, 0.92)),
        (0.901, Aim(0.901, 0.91, 0.96)),
        (1.0, Aim(1.0, 0.99, 1.0)),
    ],
)
def test_goal_and_ceiling_rise_where_words_alone_reach_the_goal(tiny_splits, monkeypatch, reached, aim):
    monkeypatch.setattr(baseline, "measure_baseline", lambda *_, **__: reached)
    assert choose_aim(tiny_splits, metric="accuracy") == aim
