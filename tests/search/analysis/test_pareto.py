import datetime
from itertools import pairwise, product

import numpy as np
import optuna
import pytest
from hypothesis import given, strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.trial import TrialState
from toys import DATA, add, evaluation, make_study

from search.analysis.pareto import checkpoints, floor_of, growth, hypervolume, outlook, pareto_front


def rows_of(study):
    return checkpoints(study.trials, ceiling=0.92)


def points(rows):
    return [(r.trial, r.epoch, r.validation_accuracy, r.training_accuracy) for r in rows]


def test_every_full_evaluation_is_a_checkpoint_and_a_peek_is_none():
    study = make_study()
    curve = [evaluation(0.5, 0.9, 0.1, peek=True), evaluation(1.0, 0.7, 0.72), evaluation(2.0, 0.8, 0.83)]
    add(study, state=TrialState.RUNNING, evaluations=curve)
    assert points(rows_of(study)) == [(0, 1.0, 0.7, 0.72), (0, 2.0, 0.8, 0.83)]


def test_exact_figures_of_the_restored_epoch_replace_its_estimate():
    study = make_study()
    curve = [evaluation(1.0, 0.84, 0.85), evaluation(2.0, 0.86, 0.90), evaluation(3.0, 0.85, 0.93)]
    add(study, 0.91, 0.86, evaluations=curve)
    first, second, third = rows_of(study)
    assert second.plain() == {
        "trial": 0,
        "epoch": 2.0,
        "validation_accuracy": 0.86,
        "training_accuracy": 0.91,
        "exact": True,
        "num_validation_texts": None,
        "training_interval": None,
        "validation_loss": 0.6 - 0.2,
        "seconds": 20.0,
        "restored": True,
        "feasible": True,
    }
    assert (first.restored, first.exact, first.feasible) == (False, False, True)
    assert (third.restored, third.exact, third.feasible) == (False, False, False)


def test_a_complete_trial_without_evaluations_has_its_final_figures():
    study = make_study()
    add(study, 0.91, 0.86)
    (row,) = rows_of(study)
    assert (row.epoch, row.validation_loss, row.seconds, row.restored) == (2.0, None, 64.4, True)


def test_a_pruned_trial_has_what_it_evaluated_and_no_final_figures():
    study = make_study()
    peek = [evaluation(0.5, 0.7, 0.9, peek=True)]
    add(study, 0.90, 0.70, state=TrialState.PRUNED, best_epoch=0.5, evaluations=peek)
    assert rows_of(study) == []


def test_a_trial_that_was_cut_off_leaves_its_checkpoints_to_its_repeat():
    study = make_study()
    curve = [evaluation(1.0, 0.7, 0.72)]
    add(study, state=TrialState.FAIL, reason="killed", evaluations=curve)
    add(study, state=TrialState.FAIL, reason="diverged", evaluations=curve)
    add(study, state=TrialState.RUNNING, retry_of=0, evaluations=curve)
    assert [r.trial for r in rows_of(study)] == [1, 2]


def test_a_training_figure_on_the_ceiling_is_feasible():
    study = make_study()
    curve = [evaluation(1.0, 0.8, 0.92), evaluation(2.0, 0.8, 0.9200001)]
    add(study, state=TrialState.RUNNING, evaluations=curve)
    assert [r.feasible for r in rows_of(study)] == [True, False]


def test_the_front_tells_which_epoch_of_which_trial():
    study = make_study()
    add(study, 0.91, 0.86, evaluations=[evaluation(1.0, 0.84, 0.85), evaluation(2.0, 0.86, 0.90)])
    add(study, 0.88, 0.83, evaluations=[evaluation(1.0, 0.80, 0.82), evaluation(2.0, 0.83, 0.87)])
    front = pareto_front(rows_of(study))
    assert points(front) == [(0, 2.0, 0.86, 0.91), (0, 1.0, 0.84, 0.85), (1, 1.0, 0.80, 0.82)]


EIGHTHS = st.integers(min_value=0, max_value=8).map(lambda n: n / 8)


@given(st.lists(st.tuples(EIGHTHS, EIGHTHS), max_size=8), EIGHTHS)
def test_hypervolume_equals_the_cells_that_some_point_dominates(candidates, floor):
    """All lie on a grid of eighths, so that area is a count of cells."""
    cells = [
        (low, left)
        for low, left in product(np.arange(0, 1, 1 / 8), repeat=2)
        if low >= floor and any(v >= low + 1 / 8 and t <= left for v, t in candidates)
    ]
    assert hypervolume(candidates, floor=floor) == pytest.approx(len(cells) / 64, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12), st.floats(0, 1))
def test_hypervolume_equals_optunas_own(candidates, floor):
    inside = [(-v, t) for v, t in candidates if v > floor]
    expected = compute_hypervolume(np.array(inside), np.array([-floor, 1.0])) if inside else 0.0
    assert hypervolume(candidates, floor=floor) == pytest.approx(expected, abs=1e-9)


def test_the_floor_is_the_share_of_the_largest_class_for_accuracy_alone():
    assert floor_of(DATA, "accuracy") == 0.6
    assert floor_of(DATA, "balanced_accuracy") == floor_of(DATA, "macro_f1") == 0.5


@pytest.mark.parametrize("data", [None, {}, {"train": 3}, {"texts_per_class": {"validation": [0, 0]}}])
def test_the_floor_is_0_where_nothing_is_known(data):
    assert floor_of(data, "accuracy") == 0.0


def ended(number, validation=None, *, minute, state=TrialState.COMPLETE, **attrs):
    if validation is not None:
        attrs |= {"validation_accuracy": validation, "training_accuracy": 0.8, "best_epoch": 1.0}
    trial = optuna.trial.create_trial(
        state=state, value=validation if state == TrialState.COMPLETE else None, user_attrs=attrs
    )
    trial.number = number
    trial.datetime_complete = datetime.datetime(2026, 1, 1, 0, minute)
    return trial


def history(trials, *, floor=0.5):
    grown = growth(trials, checkpoints(trials, ceiling=0.92), floor=floor)
    return [(e.finished, e.trial, pytest.approx(e.hypervolume)) for e in grown.history]


def test_the_history_follows_the_order_in_which_trials_ended():
    trials = [ended(0, 0.7, minute=5), ended(1, 0.6, minute=1), ended(2, 0.65, minute=9)]
    assert history(trials) == [(1, 1, 0.02), (2, 0, 0.04), (3, 2, 0.04)]


def test_a_failed_trial_counts_and_a_running_one_does_not():
    trials = [
        ended(0, minute=1, state=TrialState.FAIL),
        ended(1, 0.6, minute=2),
        ended(2, minute=3, state=TrialState.RUNNING, evaluations=[evaluation(1.0, 0.9, 0.5)]),
    ]
    assert history(trials) == [(1, 0, 0.0), (2, 1, 0.02)]


@given(st.lists(st.tuples(EIGHTHS, EIGHTHS), max_size=10))
def test_the_history_ends_with_the_hypervolume_of_all_and_never_falls(candidates):
    trials = [
        ended(i, validation, minute=i, evaluations=[evaluation(2.0, validation, training)])
        for i, (validation, training) in enumerate(candidates)
    ]
    rows = checkpoints(trials, ceiling=0.92)
    areas = [e.hypervolume for e in growth(trials, rows, floor=0.25).history]
    assert all(before <= after + 1e-12 for before, after in pairwise(areas))
    everything = [(r.validation_accuracy, r.training_accuracy) for r in rows]
    assert (areas or [0.0])[-1] == pytest.approx(hypervolume(everything, floor=0.25))


def test_the_outlook_waits_for_twenty_trials():
    said = "Whether more trials would still pay cannot be told before 20 have finished; 19 have."
    assert outlook([0.1] * 19) == (10, None, None, said)
    assert outlook([0.1]).sentence.endswith("; 1 has.")


def test_more_trials_may_pay_where_the_front_grew_by_a_hundredth():
    answer = outlook([0.1] * 38 + [0.101] * 12)
    assert (answer.window, answer.pays) == (12, True)
    assert answer.sentence == (
        "More trials may still pay: over the last 12 of 50 finished ones the hypervolume of the Pareto front grew "
        "by 1.00 %, at least the 1 % that would make them worth it."
    )


def test_more_trials_would_hardly_pay_where_it_grew_by_less():
    answer = outlook([0.1] * 10 + [0.1009] * 10)
    assert (answer.window, answer.pays, answer.growth) == (10, False, pytest.approx(0.009))
    assert answer.sentence == (
        "More trials would hardly pay: over the last 10 of 20 finished ones the hypervolume of the Pareto front "
        "grew by 0.90 %, less than the 1 % that would make them worth it."
    )


def test_a_front_that_rose_from_nothing_may_rise_on():
    answer = outlook([0.0] * 10 + [0.1] * 10)
    assert (answer.growth, answer.pays) == (None, True)
    assert answer.sentence.endswith("the hypervolume of the Pareto front rose from nothing.")


def test_a_front_that_is_worth_nothing_yet_promises_nothing():
    answer = outlook([0.0] * 20)
    assert (answer.growth, answer.pays) == (None, False)
    assert "More trials would hardly pay: " in answer.sentence


def sampled(epoch, validation, training):
    interval = [training - 0.04, training + 0.04]
    return evaluation(epoch, validation, training) | {
        "num_validation_texts": 300,
        "training_interval": interval,
    }


def test_a_checkpoint_tells_how_many_texts_its_figures_are_over():
    study = make_study()
    add(study, 0.91, 0.86, evaluations=[sampled(1.0, 0.84, 0.85), sampled(2.0, 0.88, 0.90)])
    first, second = rows_of(study)
    assert (first.num_validation_texts, first.training_interval) == (
        300,
        pytest.approx((0.81, 0.89)),
    )
    assert (second.num_validation_texts, second.validation_accuracy) == (None, 0.86)


def test_an_estimate_on_a_sample_of_the_validation_texts_is_not_on_the_front():
    study = make_study()
    add(study, 0.91, 0.86, evaluations=[sampled(1.0, 0.90, 0.80), evaluation(2.0, 0.86, 0.90)])
    front = pareto_front(rows_of(study))
    assert [row.epoch for row in front] == [2.0]
    areas = growth(study.trials, rows_of(study), floor=0.5).history
    assert areas[-1].hypervolume == pytest.approx((0.86 - 0.5) * (1 - 0.91))


def test_an_estimated_training_accuracy_of_a_complete_trial_is_told_as_one():
    study = make_study()
    add(
        study,
        0.80,
        0.86,
        evaluations=[evaluation(2.0, 0.86, 0.81)],
        training_exact=False,
        training_interval=[0.75, 0.84],
    )
    (row,) = rows_of(study)
    assert (row.exact, row.training_interval) == (False, (0.75, 0.84))
