from types import SimpleNamespace

import pytest
from toys import CONFIRMATION

from search.analysis.confirmed import ConfirmedFinalist, Outcome
from search.analysis.goal import Limits, SearchJudged, judge, judge_setup, state

AIM = Limits(validation_accuracy=0.65, training_accuracy=0.92)


def trial(number, validation, training, *, feasible=None):
    return SimpleNamespace(
        number=number,
        validation_accuracy=validation,
        training_accuracy=training,
        feasible=training <= 0.92 if feasible is None else feasible,
        value=validation,
    )


def finalist(name, *fits, trial=None):
    """A finalist of whose fits each is a validation and a training figure; None has failed."""
    [known] = [row for row in CONFIRMATION["finalists"] if row["name"] == "trial 1"]
    records = [
        known["fits"][2]
        if fit is None
        else known["fits"][0] | {"validation_accuracy": fit[0], "training_accuracy": fit[1]}
        for fit in fits
    ]
    return ConfirmedFinalist.model_validate(known | {"name": name, "trial": trial, "fits": records})


def confirmed(*finalists, winner="trial 1"):
    return Outcome.model_validate(
        CONFIRMATION | {"words": None, "winner": winner, "finalists": list(finalists)}
    )


MET = trial(1, 0.68, 0.80)


def test_before_a_confirmation_the_search_decides():
    goal = judge([trial(0, 0.66, 0.8), MET], None, AIM)
    assert (goal.met, goal.judged_by, goal.trial) == (True, "search", 1)
    assert goal.on_fresh_seeds is None
    assert state(goal) == "met in the search"


def test_a_search_that_misses_it_has_not_met_it():
    goal = judge([trial(0, 0.64, 0.8), trial(1, 0.7, 0.93), trial(2, 0.7, 0.92)], None, AIM)
    assert (goal.met, goal.trial) == (False, None)
    assert state(goal) == "not met"


def test_fresh_seeds_that_miss_it_overrule_the_search():
    found = confirmed(finalist("trial 1", (0.67, 0.75), (0.64, 0.77), (0.615, 0.76), trial=1))
    goal = judge([MET], found, AIM)
    assert (goal.met, goal.judged_by, goal.trial) == (False, "confirmation", None)
    assert goal.in_search == SearchJudged(met=True, trial=1)
    assert state(goal) == "not met on fresh seeds"


def test_fresh_seeds_may_meet_what_the_search_missed():
    found = confirmed(finalist("trial 1", (0.66, 0.75), (0.65, 0.77), trial=1))
    goal = judge([trial(1, 0.64, 0.8)], found, AIM)
    assert (goal.met, goal.trial, goal.in_search.met) == (True, 1, False)
    assert state(goal) == "met on fresh seeds"


def test_it_is_the_winner_that_is_judged_and_others_that_meet_it_are_named():
    found = confirmed(finalist("trial 1", (0.64, 0.8), trial=1), finalist("trial 2", (0.66, 0.8), trial=2))
    fresh = judge([MET], found, AIM).on_fresh_seeds
    assert (fresh.met, fresh.winner.name, fresh.trial) == (False, "trial 1", 1)
    assert [setup.name for setup in fresh.others] == ["trial 2"]


def test_without_a_winner_it_is_not_met():
    found = confirmed(finalist("trial 1", (0.7, 0.95), trial=1), winner=None)
    goal = judge([MET], found, AIM)
    assert (goal.met, goal.on_fresh_seeds.winner) == (False, None)


def test_a_goal_that_was_changed_since_is_held_against_the_same_fits():
    found = confirmed(finalist("trial 1", (0.64, 0.8), (0.62, 0.8), trial=1))
    assert judge([MET], found, AIM.model_copy(update={"validation_accuracy": 0.63})).met is True


@pytest.mark.parametrize(
    ("fits", "met"),
    [
        ([(0.70, 0.80)], True),
        ([(0.65, 0.80), (0.65, 0.80), (0.65, 0.80)], True),
        ([(0.70, 0.92)], False),  # at the ceiling is not under it
        ([(0.70, 0.80), (0.70, 0.93)], False),  # half is not most
        ([(0.70, 0.80), (0.70, 0.80), (0.70, 0.93)], True),
        ([(0.70, 0.80), None], False),  # a fit that failed stayed under nothing
        ([None], False),
    ],
)
def test_a_setup_meets_it_by_its_mean_and_by_most_fits_under_the_ceiling(fits, met):
    assert judge_setup(finalist("trial 1", *fits), AIM).met is met


def test_what_is_said_of_a_setup_is_counted_over_its_fits():
    judged = judge_setup(finalist("trial 1", (0.67, 0.8), (0.63, 0.8), (0.67, 0.95), None), AIM)
    assert judged.mean == pytest.approx(0.6566667)
    assert judged.spread == pytest.approx(0.0230940)
    assert (judged.num_fits, judged.num_under_ceiling, judged.num_meeting_both) == (4, 2, 1)


@pytest.mark.parametrize(("validation", "words"), [(0.67, "met"), (0.6, "not met")])
def test_one_fresh_seed_is_not_called_several(validation, words):
    found = confirmed(finalist("trial 1", (validation, 0.8), trial=1))
    assert state(judge([MET], found, AIM)) == f"{words} on one fresh seed"


def test_one_fit_has_no_spread():
    assert judge_setup(finalist("trial 1", (0.67, 0.8)), AIM).spread is None


def test_a_ceiling_of_one_is_none():
    limits = Limits(validation_accuracy=0.85, training_accuracy=1.0)
    assert judge([trial(0, 0.9, 1.0, feasible=True)], None, limits).met
    assert not judge([trial(0, 0.8, 1.0, feasible=True)], None, limits).met
