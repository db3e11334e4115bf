import copy

import pytest
from toys import CONFIRMATION, add, fill, make_spec, make_study

from search.analysis import ConfirmedFinalist, Limits
from search.analysis.outcome import CONFIRMATION as KEY
from search.report.conclusions import advice, next_commands, verdict, verdict_on_trial
from search.report.models import TrialRow
from search.report.summary import summarise

LIMITS = Limits(validation_accuracy=0.86, training_accuracy=0.92)


def summary_of(*, goal=0.86, confirmation=CONFIRMATION, later=()):
    study = fill(make_study())
    if confirmation:
        study._storage.set_study_system_attr(study._study_id, KEY, confirmation)
    for training, validation in later:
        add(study, training, validation)
    return summarise(study, make_spec(goal={"validation_accuracy": goal}))


def confirmation_in_which(*validations, winner="trial 1"):
    """The finalists trial 1, frozen-head and trial 5, all of whose fits came to these figures."""
    found = copy.deepcopy(CONFIRMATION) | {"winner": winner}
    for row, validation in zip(found["finalists"], validations, strict=True):
        for fit in row["fits"]:
            fit |= {"state": "complete", "validation_accuracy": validation, "training_accuracy": 0.9}
    return found


def commands(summary):
    return [command for _, command in next_commands(summary, "--study toy")]


def test_before_a_confirmation_the_goal_is_met_in_the_search():
    assert verdict(summary_of(confirmation=None)) == (
        "Goal: validation accuracy >= 86 %, training < 92 %: met in the search by trial 1: validation 86.00 %, training "
        "91.00 %; not yet confirmed on fresh seeds."
    )


def test_fresh_seeds_that_refute_the_search_are_told_with_their_spread():
    assert verdict(summary_of()) == (
        "Goal: validation accuracy >= 86 %, training < 92 %: not met on fresh seeds; the winner is trial 1: validation "
        "85.05 % +- 0.07 over 2 of 3 fresh seeds, 2 of 3 under the ceiling, 0 of 3 meeting both. The search met it once, "
        "with trial 1: validation 86.00 %, training 91.00 %."
    )


def test_fresh_seeds_that_meet_it_are_told_with_their_spread():
    assert verdict(summary_of(goal=0.85)) == (
        "Goal: validation accuracy >= 85 %, training < 92 %: met on fresh seeds by trial 1: validation 85.05 % +- 0.07 over "
        "2 of 3 fresh seeds, 2 of 3 under the ceiling, 2 of 3 meeting both."
    )


def test_another_finalist_that_meets_it_is_named_and_offered():
    summary = summary_of(confirmation=confirmation_in_which(0.85, 0.80, 0.87))
    assert (
        "On fresh seeds it is met by trial 5: validation 87.00 % +- 0.00 over 3 fresh seeds, 3 of 3 under"
    ) in verdict(summary)
    assert advice(summary) == ("What to do: trial 5 meets the goal on fresh seeds; take it, or search on.")
    assert "python -m search.export --study toy --trial 5" in commands(summary)


def test_without_a_winner_nothing_is_met():
    summary = summary_of(confirmation=confirmation_in_which(0.9, 0.9, 0.9, winner=None))
    assert "not met on fresh seeds; no setup stays under the ceiling with most of its fits" in verdict(
        summary
    )


def test_a_trial_that_met_it_since_is_said_not_to_be_confirmed():
    summary = summary_of(later=[(0.91, 0.88)])
    assert (
        "The search met it once, with trial 6: validation 88.00 %, training 91.00 %, not confirmed."
        in verdict(summary)
    )
    assert "python -m search.confirm --study toy" in commands(summary)


def test_a_confirmation_that_knows_all_trials_is_not_to_be_repeated():
    assert "python -m search.confirm --study toy" not in commands(summary_of())


def test_what_the_search_met_by_luck_is_no_reason_to_change_its_ranges():
    assert advice(summary_of()).startswith("What to do: search on and confirm again, or lower the goal")


def test_a_goal_that_the_search_missed_too_is_a_reason_to_change_its_ranges():
    assert advice(summary_of(goal=0.9)).startswith("What to do: more trials, or other ranges")


@pytest.mark.parametrize(
    ("trial", "finalist", "words"),
    [
        (
            {"state": "complete", "validation_accuracy": 0.86},
            None,
            "met in the search by trial 1; not yet confirmed",
        ),
        (
            {"state": "complete", "validation_accuracy": 0.85},
            None,
            "not met by trial 1; not yet confirmed",
        ),
        ({"state": "pruned"}, None, "not met by trial 1, which was pruned."),
        (
            {"state": "complete"},
            CONFIRMATION["finalists"][0],
            "not met on fresh seeds by trial 1: validation 85.05 %",
        ),
    ],
)
def test_one_trial_is_judged_by_fresh_seeds_if_it_has_been(trial, finalist, words):
    known = {
        **dict.fromkeys(TrialRow.model_fields),
        "number": 1,
        "training_accuracy": 0.9,
        "settings": {},
        **trial,
    }
    kept = None if finalist is None else ConfirmedFinalist.model_validate(finalist)
    said = verdict_on_trial(TrialRow.model_validate(known), kept, limits=LIMITS, metric="accuracy")
    assert said.startswith(f"Goal: validation accuracy >= 86 %, training < 92 %: {words}")
