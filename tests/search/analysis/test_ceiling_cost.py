import math

import pytest

from search.analysis.ceiling_cost import price_of_ceiling
from search.analysis.pareto import Checkpoint

DATA = {"texts_per_class": {"validation": [200, 200]}}


def row(trial, validation, training, *, exact=True, ceiling=0.92):
    return Checkpoint(
        trial=trial,
        epoch=1.0,
        validation_accuracy=validation,
        training_accuracy=training,
        exact=exact,
        validation_loss=None,
        seconds=None,
        num_validation_texts=None,
        training_interval=None,
        restored=True,
        feasible=training <= ceiling,
    )


def price(*rows, data=DATA, metric="accuracy"):
    return price_of_ceiling(rows, ceiling=0.92, metric=metric, data=data)


def test_the_price_is_the_best_of_all_against_the_best_under_the_ceiling():
    found = price(row(0, 0.80, 0.85), row(1, 0.88, 0.97, exact=False), row(2, 0.86, 0.91), row(3, 0.85, 0.90))
    assert (found.best.trial, found.best_under.trial) == (1, 2)
    assert found.points == pytest.approx(0.02)
    assert found.gap == pytest.approx(0.04)
    assert found.standard_error == pytest.approx(math.sqrt((0.88 * 0.12 + 0.86 * 0.14) / 400))
    assert found.sentence == (
        "The ceiling of 92 % cost 2.00 points of validation (standard error at most 2.38) and made the gap to training 4.00 "
        "points smaller: the best checkpoint of all has 88.00 % validation accuracy at ~97.00 % training (trial 1, epoch 1), "
        "the best under it 86.00 % validation accuracy at 91.00 % training (trial 2, epoch 1)."
    )


def test_a_best_checkpoint_under_the_ceiling_has_no_price():
    found = price(row(0, 0.80, 0.95), row(1, 0.88, 0.91))
    assert (found.points, found.gap) == (0, 0)
    assert found.sentence.startswith("The ceiling of 92 % had no measured cost: the best checkpoint")


def test_of_equals_in_validation_the_one_that_memorised_less_is_the_best():
    assert price(row(0, 0.88, 0.95), row(1, 0.88, 0.91)).points == 0


def test_where_nothing_lies_under_the_ceiling_there_is_no_price():
    found = price(row(0, 0.8, 0.99))
    assert (found.best_under, found.points, found.gap, found.standard_error) == (None,) * 4
    assert "no checkpoint was seen under it" in found.sentence


def test_before_anything_was_evaluated_nothing_is_said():
    assert price() is None


def test_without_the_data_page_the_error_is_not_told():
    found = price(row(0, 0.88, 0.97), row(1, 0.86, 0.91), data=None)
    assert found.standard_error is None
    assert "standard error" not in found.sentence


def test_the_error_of_a_mean_over_classes_counts_the_rare_ones():
    uneven = {"texts_per_class": {"validation": [380, 20]}}
    rows = row(0, 0.88, 0.97), row(1, 0.86, 0.91)
    by_accuracy = price(*rows, data=uneven).standard_error
    assert price(*rows, data=uneven, metric="macro_f1").standard_error > 2 * by_accuracy
