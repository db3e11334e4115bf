import copy
import math

import pytest
from toys import CONFIRMATION, add, fill, make_spec, make_study

from search.analysis.opponents import compare_with_opponents, winner_of
from search.analysis.outcome import CONFIRMATION as KEY
from search.report.conclusions import falls_short, worth, worth_of
from search.report.summary import summarise
from search.study.attributes import WORDS


def study_with(*, probe=None, usual=None, words=None, confirmation=None):
    """The toy study, whose best trial 1 has 86 % of 100 validation texts, beside opponents."""
    study = fill(make_study())
    for name, reached in (("probe", probe), ("usual", usual)):
        if reached is not None:
            add(study, 0.95, reached, recipe=name)
    if words is not None:
        study.set_user_attr(WORDS, {"validation_accuracy": words, "num_texts": 200, "seconds": 3.0})
    if confirmation:
        study._storage.set_study_system_attr(study._study_id, KEY, confirmation)
    return study


def found_in(study):
    return summarise(study, make_spec()).opponents


def of(found, name):
    return next(o for o in found.opponents if o.name == name)


def test_a_difference_has_the_binomial_error_of_both_figures():
    probe = of(found_in(study_with(probe=0.80)), "probe")
    assert probe.difference == pytest.approx(0.06)
    assert probe.standard_error == pytest.approx(math.sqrt(0.86 * 0.14 / 100 + 0.8 * 0.2 / 100))
    assert probe.verdict == "not told apart"


@pytest.mark.parametrize(
    ("reached", "verdict"),
    [(0.70, "better"), (0.77, "not told apart"), (0.90, "not told apart"), (0.97, "worse")],
)
def test_only_what_lies_beyond_two_standard_errors_is_told_apart(reached, verdict):
    assert of(found_in(study_with(words=reached)), "the words alone").verdict == verdict


def test_what_was_not_measured_is_unknown_and_said_to_be():
    found = found_in(study_with())
    assert {o.verdict for o in found.opponents} == {"unknown"}
    assert dict(worth(found))["usual"] == "not measured"
    assert falls_short(found) is None


def test_a_winner_below_the_probe_is_said_to_fall_short_and_by_how_much():
    assert falls_short(found_in(study_with(probe=0.90))) == (
        "Trial 1 falls short of probe, a logistic regression on the frozen encoder's vectors: 4.00 points on "
        "validation, standard error 4.59: no clear difference."
    )
    assert falls_short(found_in(study_with(probe=0.86))) is None


def test_a_probe_that_wins_is_the_winner_itself():
    study = study_with()
    add(study, 0.90, 0.91, recipe="probe")
    found = found_in(study)
    assert found.name == "probe"
    assert dict(worth(found))["probe"] == "91.00 % validation in 1 min 4 s: the winner itself"
    assert (
        "probe, 91.00 % validation, the best of 5 trials and the recipes, so" in dict(worth(found))["search"]
    )
    assert falls_short(found) is None


def test_each_opponent_is_told_with_its_cost():
    said = dict(worth(found_in(study_with(probe=0.70, words=0.80))))
    assert said["search"] == (
        "trial 1, 86.00 % validation, the best of 5 trials, so probably too high; the search took 41 min 12 s"
    )
    assert said["probe"] == (
        "70.00 % validation in 1 min 4 s; trial 1 lies 16.00 points above, standard error 5.75: better"
    )
    assert said["the words alone"] == (
        "80.00 % validation in 3 s; trial 1 lies 6.00 points above, standard error 5.30: no clear difference"
    )


def confirmed(difference, low, high, *, p=0.001, num_seeds=3):
    found = copy.deepcopy(CONFIRMATION)
    pair = found["comparisons"][0] | {"second": "probe", "difference": difference, "low": low, "high": high}
    found["comparisons"] = [pair | {"p_holm": p, "num_seeds": num_seeds}]
    return found


@pytest.mark.parametrize(
    ("confirmation", "verdict"),
    [
        (confirmed(0.05, 0.02, 0.08), "better"),
        (confirmed(-0.05, -0.08, -0.02), "worse"),
        (confirmed(0.05, -0.01, 0.11), "not told apart"),
        (confirmed(0.05, 0.02, 0.08, p=0.2), "not told apart"),
        (confirmed(0.05, 0.02, 0.08, num_seeds=1), "not told apart"),
        (confirmed(0.05, None, None), "not told apart"),
    ],
)
def test_on_the_test_split_fresh_seeds_and_texts_must_agree(confirmation, verdict):
    assert of(found_in(study_with(probe=0.8, confirmation=confirmation)), "probe").test.verdict == verdict


def test_the_test_split_decides_who_falls_short():
    found = found_in(study_with(probe=0.80, confirmation=confirmed(-0.05, -0.08, -0.02)))
    assert falls_short(found) == (
        "Trial 1 falls short of probe, a logistic regression on the frozen encoder's vectors: 5.00 points on the test "
        "split (-8.00 to -2.00): worse."
    )


def test_a_pair_that_stands_the_other_way_round_is_turned():
    confirmation = confirmed(0.05, 0.02, 0.08)
    confirmation["comparisons"][0] |= {"first": "probe", "second": "trial 1"}
    test = of(found_in(study_with(probe=0.8, confirmation=confirmation)), "probe").test
    assert (test.difference, test.low, test.high) == pytest.approx((-0.05, -0.08, -0.02))


def test_without_a_trial_under_the_ceiling_there_is_no_winner():
    study = make_study()
    add(study, 0.99, 0.9)
    found = found_in(study)
    assert winner_of(study) is None
    assert found.name is None
    assert dict(worth(found))["search"] == "no trial under the ceiling yet"


def test_by_other_metrics_rare_classes_make_the_error_larger():
    study = study_with(probe=0.8)
    errors = [
        of(compare_with_opponents(study, winner_of(study), metric=metric), "probe").standard_error
        for metric in ("accuracy", "macro_f1")
    ]
    assert errors[1] == pytest.approx(errors[0] * math.sqrt(100 / (4 / (1 / 60 + 1 / 40))))


def test_where_texts_belong_to_groups_errors_are_those_of_other_groups_and_said_to_be():
    study = study_with(words=0.75)
    alone = of(found_in(study), "the words alone")
    assert summarise(study, make_spec()).group_effect is None
    for effect in (1.0, 4.0, 9.0):
        add(study, 0.8, 0.7, design_effect=effect)
    summary = summarise(study, make_spec())
    grouped = of(summary.opponents, "the words alone")
    assert (summary.group_effect, alone.verdict, grouped.verdict) == (4.0, "not told apart", "not told apart")
    assert grouped.standard_error == pytest.approx(2 * alone.standard_error)
    assert summary.majority is None or summary.majority.standard_error > 0
    price = summary.ceiling
    assert price.standard_error == pytest.approx(
        2 * summarise(study_with(), make_spec()).ceiling.standard_error
    )
    assert dict(worth_of(summary))["groups"] == (
        "errors on validation are those of other groups: answers to texts of a group are alike, so that 100 texts say as much as 25 "
        "of different groups"
    )
