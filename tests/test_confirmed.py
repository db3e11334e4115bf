import io

import pytest
from rich.console import Console

from search.confirmed import print_confirmation, sentences


def row(name, *, search=0.88, mean=0.86, spread=0.01, share=1.0, test=0.85, low=0.83, high=0.87):
    accuracies = None if search is None else {"validation_accuracy": search, "training_accuracy": 0.9}
    return {
        "name": name,
        "search": accuracies,
        "validation": {"mean": mean, "spread": spread},
        "training": {"mean": 0.9, "spread": 0.01},
        "share_under_ceiling": share,
        "optimism": None if search is None else search - mean,
        "test": None if test is None else {"accuracy": test, "low": low, "high": high},
    }


def pair(p_holm, difference=0.1):
    return {
        "first": "trial 3",
        "second": "frozen-head",
        "difference": difference,
        "low": difference - 0.02,
        "high": difference + 0.02,
        "p_holm": p_holm,
    }


def summary(*rows, winner="trial 3", comparisons=(), finished=50):
    found = {
        "rule": "a rule",
        "seeds": [1, 2, 3],
        "after": 50,
        "num_test": 2500,
        "winner": winner,
        "finalists": list(rows),
        "comparisons": list(comparisons),
    }
    return {"confirmation": found, "metric": "accuracy", "counts": {"finished": finished}}


def printed(of):
    console = Console(file=io.StringIO(), width=120)
    print_confirmation(of, console)
    return console.file.getvalue()


def test_table_shows_what_was_promised_confirmed_and_tested():
    text = printed(summary(row("trial 3"), row("frozen-head", search=None, share=2 / 3, spread=None)))
    assert "Confirmed on 3 fresh seeds and 2,500 test texts, accuracy in %" in text
    assert text.split("trial 3")[1].split("\n")[0].split() == (
        ["88.00", "86.00", "+-", "1.00", "90.00", "3", "of", "3", "85.00", "83.00-87.00"]
    )
    assert text.split("frozen-head")[1].split("\n")[0].split()[:3] == ["-", "86.00", "90.00"]
    assert "2 of 3" in text


def test_luck_of_the_search_is_told():
    told = list(sentences(summary(row("trial 3"))))
    assert told[0] == "Winner: trial 3, by a rule."
    assert told[1] == (
        "The search promised 88.00 % validation; 3 fresh seeds gave 86.00 % +- 1.00: 2.00 points of it were luck."
    )


def test_a_figure_that_held_is_no_luck():
    assert "it did not promise too much" in list(sentences(summary(row("trial 3", search=0.85))))[1]


def test_nobody_wins_without_a_winner():
    assert list(sentences(summary(row("trial 3"), winner=None))) == [
        "No setup stays under the ceiling with most of 3 fresh seeds, so there is no winner."
    ]


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.2, "p = 0.2: may be luck"), (0.01, "p = 0.01: a difference"), (1e-9, "p < 0.0001: a difference")],
)
def test_a_difference_is_called_one_only_if_it_is_significant(p, words):
    told = list(sentences(summary(row("trial 3"), comparisons=[pair(p)])))
    assert told[-1] == (f"trial 3 against frozen-head, test split: +10.00 points (+8.00 to +12.00), {words}.")


def test_trials_that_ended_since_are_counted():
    told = list(sentences(summary(row("trial 3"), finished=53)))
    assert told[-1] == "3 trials have ended since; confirm again: python -m search.confirm."


def test_what_was_never_tested_has_no_figure():
    assert "-" in printed(summary(row("trial 3", test=None, low=None, high=None)))


def test_nothing_is_printed_of_a_study_that_nobody_confirmed():
    assert printed({"confirmation": None}) == ""
