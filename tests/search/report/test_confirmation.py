import io

import pytest
from rich.console import Console
from toys import CONFIRMATION

from search.analysis import Comparison, Outcome
from search.report.confirmation import conclusion, coverage, print_confirmation, sentences


def above(value, half):
    return {"value": value, "low": half and value - half, "high": half and value + half}


def row(
    name,
    *,
    search=0.88,
    mean=0.86,
    spread=0.01,
    share=1.0,
    test=0.85,
    low=0.83,
    high=0.87,
    num_fits=3,
    luck=(0.01, 0.03),
):
    accuracies = None if search is None else {"validation_accuracy": search, "training_accuracy": 0.9}
    seed_error, text_error = luck
    [known] = [row for row in CONFIRMATION["finalists"] if row["name"] == "trial 1"]
    return known | {
        "name": name,
        "search": accuracies,
        "fits": [known["fits"][0] | {"seed": s, "validation_accuracy": mean} for s in (1, 2, 3)[:num_fits]],
        "validation": {"mean": mean, "spread": spread},
        "training": {"mean": 0.9, "spread": 0.01},
        "share_under_ceiling": share,
        "flattery": {
            "search_above_fresh": accuracies and above(search - mean, seed_error),
            "fresh_above_test": test and above(mean - test, text_error),
            "search_above_test": accuracies and test and above(search - test, text_error),
        },
        "test": test
        and {"accuracy": test, "spread": 0.004 if num_fits > 1 else None, "low": low, "high": high}
        | {"seed": 1, "num_fits": num_fits, "confidence": 0.95},
    }


def pair(p_holm, difference=0.1, *, half=0.02, num_seeds=3):
    [known] = CONFIRMATION["comparisons"]
    return known | {
        "first": "trial 3",
        "second": "frozen-head",
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "num_seeds": num_seeds,
        "p_holm": p_holm,
    }


def outcome(*rows, winner="trial 3", comparisons=(), processors=("one",)):
    found = {
        "words": None,
        "rule": "a rule",
        "seeds": [1, 2, 3],
        "after": 50,
        "num_test": 2500,
        "versions": {},
        "processors": list(processors),
        "winner": winner,
        "finalists": list(rows),
        "comparisons": list(comparisons),
    }
    return Outcome.model_validate(found)


def told_of(found, *, num_finished=50):
    return list(sentences(found, num_finished=num_finished))


def printed(of):
    console = Console(file=io.StringIO(), width=120)
    print_confirmation(of, console, metric="accuracy", num_finished=50)
    return console.file.getvalue()


def test_table_shows_what_was_promised_confirmed_and_tested():
    text = printed(outcome(row("trial 3"), row("frozen-head", search=None, share=2 / 3, spread=None)))
    assert "Confirmed on 3 fresh seeds and 2,500 test texts, accuracy in %" in text
    assert text.split("trial 3")[1].split("\n")[0].split() == (
        ["88.00", "86.00", "+-", "1.00", "90.00", "3", "of", "3", "85.00", "83.00-87.00"]
    )
    assert text.split("frozen-head")[1].split("\n")[0].split()[:3] == ["-", "86.00", "90.00"]
    assert "2 of 3" in text


def test_every_source_of_luck_is_told_with_its_error():
    assert (told_of(outcome(row("trial 3", luck=(0.01, 0.005)))))[:4] == [
        "Winner: trial 3, by a rule.",
        "The search promised 88.00 % validation; 3 fresh seeds gave 86.00 % +- 1.00: 2.00 points less, beyond the error of "
        "1.00: luck of the seed and of the choice among many.",
        "Those 3 fits gave 85.00 % +- 0.40 on the test split: 1.00 points less, beyond the error of 0.50: flattery of a "
        "validation split that was looked at often.",
        "From the search to the test split: 3.00 points less, beyond the error of 0.50: luck of all kinds.",
    ]


def test_what_lies_within_its_error_is_not_called_luck():
    told = list(told_of(outcome(row("trial 3", search=0.8713, mean=0.878, test=0.8592, luck=(0.03, 0.022)))))
    assert told[1].endswith("0.67 points more, within the error of 3.00.")
    assert told[2].endswith("1.88 points less, within the error of 2.20, so not to be called luck.")
    assert told[3].endswith("1.21 points less, within the error of 2.20, so not to be called luck.")
    assert "luck of" not in " ".join(told)


def test_a_figure_that_was_surpassed_is_no_luck():
    told = told_of(outcome(row("trial 3", search=0.80)))
    assert told[1].endswith("6.00 points more, beyond the error of 1.00.")


def test_of_one_fresh_seed_the_error_is_not_known():
    told = told_of(outcome(row("trial 3", spread=None, num_fits=1, luck=(None, 0.03))))
    assert told[1] == (
        "The search promised 88.00 % validation; 1 fresh seed gave 86.00 %: 2.00 points less, whose error is not known, so "
        "not to be called luck."
    )
    assert told[2].startswith(
        "That fit gave 85.00 % on the test split: 1.00 points less, within the error of 3.00"
    )


def test_nobody_wins_without_a_winner():
    assert next(iter(told_of(outcome(row("trial 3"), winner=None)))) == (
        "No setup stays under the ceiling with most of 3 fresh seeds, so there is no winner."
    )


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.2, "p = 0.2: may be luck"), (0.01, "p = 0.01: a difference"), (1e-9, "p < 0.0001: a difference")],
)
def test_a_difference_is_called_one_only_if_it_is_significant(p, words):
    told = told_of(outcome(row("trial 3"), comparisons=[pair(p)]))
    assert told[-2] == (f"trial 3 against frozen-head, test split: +10.00 points (+8.00 to +12.00), {words}.")


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        (pair(0.001, half=0.11), "these fits differ, other seeds may not"),
        (pair(0.001, num_seeds=1), "these two fits differ, other seeds may not"),
        (pair(0.2, num_seeds=1), "may be luck"),
    ],
)
def test_a_difference_of_fits_is_not_one_of_setups(compared, words):
    assert conclusion(Comparison.model_validate(compared)) == words


def test_one_sentence_says_what_intervals_cover():
    told = told_of(outcome(row("trial 3")))
    assert told[-1] == (
        "Intervals (95 %) speak of other seeds and of other texts like these, as far as 3 seeds can tell; p (paired "
        "permutation, Holm) speaks of these fits on other texts."
    )


def test_of_one_seed_it_says_that_no_other_is_covered():
    assert coverage(outcome(row("trial 3", num_fits=1))) == (
        "Intervals (95 %) and p speak of other texts like these, not of other seeds: one fit of each setup was tested."
    )


def test_processors_are_told_when_there_are_several():
    told = told_of(outcome(row("trial 3"), processors=("one", "other")))
    assert told[-1] == "Fits were made on processors that round differently: one; other."


def test_trials_that_ended_since_are_counted():
    told = told_of(outcome(row("trial 3")), num_finished=53)
    assert told[-1] == "3 trials have ended since; confirm again: python -m search.confirm."


def test_a_failed_fit_is_not_counted_as_a_seed():
    told = told_of(Outcome.model_validate(CONFIRMATION | {"words": None}))
    assert "2 fresh seeds gave 85.00 % +- 0.40" in told[1]
    assert told[2].startswith("Those 2 fits gave 84.50 % +- 0.14 on the test split")


def test_what_was_never_tested_has_no_figure():
    assert "-" in printed(outcome(row("trial 3", test=None, low=None, high=None)))


def test_nothing_is_printed_of_a_study_that_nobody_confirmed():
    assert printed(None) == ""


def test_groups_that_were_resampled_are_told():
    told = coverage(outcome(row("trial 3")).model_copy(update={"num_test_groups": 40}))
    assert told == (
        "Intervals (95 %) speak of other seeds and of other groups of texts like these, as far as 3 seeds can tell; p (paired "
        "permutation, Holm) speaks of these fits on other groups of texts. Texts of a group were kept together: the 2,500 test "
        "texts count as 40 groups."
    )
