import numpy as np
import pytest
from optuna.trial import TrialState
from toys import add, make_study

from search.analysis.flatness import (
    FEWEST_TRIALS,
    POWER,
    expected_gain,
    gain_left,
    is_flat,
    note_flat,
    why_flat,
)
from search.study import attributes as attr, tally_of

SCORES = [0.80, 0.79, 0.76, 0.74, 0.73, 0.72, 0.71, 0.70, 0.69, 0.50]
GAIN_OF_ONE = 0.2 * (1 - (10 / 11) ** POWER)


def searched(scores=SCORES):
    """A study of so many complete trials under the ceiling."""
    study = make_study()
    for score in scores:
        add(study, 0.9, score)
    return study


def left(study, num_trials):
    return gain_left(study.trials, num_trials=num_trials)


@pytest.mark.parametrize(("so_far", "more"), [(10, 40), (25, 25), (40, 10)])
def test_the_gain_is_what_is_seen_where_errors_fall_as_a_power_of_the_trials(so_far, more):
    # The least of n uniform variables to the power s falls as n to the power -s.
    errors = 0.3 * np.random.default_rng(0).random((20_000, so_far + more)) ** POWER
    before, after = errors[:, :so_far].min(axis=1), errors.min(axis=1)
    said = [expected_gain(1 - error, num_so_far=so_far, num_more=more) for error in before.tolist()]
    assert np.mean(said) == pytest.approx((before - after).mean(), rel=0.03)


def test_twice_as_many_trials_leave_nine_percent_fewer_errors():
    for so_far in (10, 40):
        assert expected_gain(0.8, num_so_far=so_far, num_more=so_far) == pytest.approx(0.2 * 0.086, abs=1e-4)


def test_who_makes_no_errors_has_nothing_to_gain():
    assert expected_gain(1.0, num_so_far=10, num_more=40) == 0


def test_a_score_below_nought_has_as_much_to_gain_as_nought():
    assert (
        expected_gain(-0.3, num_so_far=10, num_more=40) == expected_gain(0.0, num_so_far=10, num_more=40) < 1
    )


def test_no_more_trials_gain_nothing():
    assert expected_gain(0.8, num_so_far=10, num_more=0) == 0
    assert left(searched(), 10) == left(searched(), 5) == 0


def test_a_study_expects_what_its_scores_do():
    assert left(searched(), 11) == pytest.approx(GAIN_OF_ONE)


def test_nothing_can_be_said_before_the_sampler_learns():
    assert left(searched(SCORES[: FEWEST_TRIALS - 1]), 50) is None
    assert left(searched(SCORES[:1]), 50) is None
    assert left(make_study(), 50) is None


def test_nothing_can_be_said_of_trials_that_all_failed():
    study = make_study()
    for _ in range(20):
        add(study, state=TrialState.FAIL, reason="out of memory")
    assert left(study, 50) is None


def test_nothing_can_be_said_before_a_trial_stays_under_the_ceiling():
    study = make_study()
    for _ in range(20):
        add(study, 0.99, 0.85)
    assert left(study, 50) is None
    add(study, 0.9, 0.72)
    assert left(study, 50) == pytest.approx(expected_gain(0.72, num_so_far=21, num_more=29))


def test_ties_change_nothing():
    assert left(searched([0.8] * 10), 11) == pytest.approx(GAIN_OF_ONE)


def test_trials_without_a_score_count_among_those_so_far():
    study = searched()
    add(study, state=TrialState.FAIL, reason="out of memory")
    add(study, 0.7, 0.6, state=TrialState.PRUNED)
    add(study, 0.99, 0.95)  # over the ceiling
    assert left(study, 14) == pytest.approx(expected_gain(0.8, num_so_far=13, num_more=1))


def test_recipes_are_no_draws_but_use_up_the_budget():
    study = searched()
    for _ in range(3):
        add(study, 0.9, 0.95, recipe="usual")
    assert left(study, 14) == pytest.approx(GAIN_OF_ONE)


def test_a_trial_that_was_repeated_counts_once():
    study = searched(SCORES[:-1])
    add(study, state=TrialState.FAIL, reason="killed")
    add(study, 0.9, SCORES[-1], retry_of=9)
    assert left(study, 11) == pytest.approx(GAIN_OF_ONE)


def test_nothing_can_be_said_while_a_recipe_or_another_trial_waits():
    study = searched()
    add(study, state=TrialState.WAITING)
    assert left(study, 50) is None
    assert not is_flat(tally_of(study), num_trials=50, noticeable=1.0)


def test_a_trial_under_way_changes_nothing():
    study = searched()
    add(study, state=TrialState.RUNNING)
    assert left(study, 11) == pytest.approx(GAIN_OF_ONE)


def test_a_study_is_flat_if_less_is_expected_than_would_be_noticed():
    tally = tally_of(searched())
    assert is_flat(tally, num_trials=11, noticeable=GAIN_OF_ONE + 1e-9)
    assert not is_flat(tally, num_trials=11, noticeable=GAIN_OF_ONE - 1e-9)
    assert not is_flat(tally, num_trials=50, noticeable=GAIN_OF_ONE)


def test_why_a_search_ended_is_told_with_what_it_takes_for_granted():
    study = searched()
    said = note_flat(study, num_trials=12, noticeable=0.01)
    assert said == (
        "The search ended after 10 of 12 trials: as simulated searches of other texts went, the 2 left would gain 0.47 points on "
        "average, less than the 1 of --until-flat."
    )
    assert why_flat(study).plain() == {
        "noticeable": 0.01,
        "expected_gain": pytest.approx(0.2 * (1 - (10 / 12) ** POWER)),
        "finished": 10,
        "num_trials": 12,
        "sentence": said,
    }


@pytest.mark.parametrize(("num_trials", "noticeable"), [(10, 0.1), (50, 0.002)])
def test_a_search_that_has_all_its_trials_or_much_to_gain_did_not_end_flat(num_trials, noticeable):
    study = searched()
    assert note_flat(study, num_trials=num_trials, noticeable=noticeable) is None
    assert attr.FLAT not in study.user_attrs
    assert why_flat(study) is None


def test_what_was_told_holds_until_another_trial_has_finished():
    study = searched()
    note_flat(study, num_trials=12, noticeable=0.01)
    add(study, state=TrialState.RUNNING)
    assert why_flat(study) is not None
    add(study, 0.9, 0.7)
    assert why_flat(study) is None
