import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from toys import DATA, fill, make_spec, make_study

from search.analysis.majority import ALWAYS_MAJORITY, call_out, majority_of
from search.report.conclusions import asks_for_little, worth
from search.report.summary import summarise

ORACLES = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda labels, predicted: f1_score(labels, predicted, average="macro"),
}


def page(train, validation):
    return {
        "train": sum(train),
        "validation": sum(validation),
        "texts_per_class": {"train": train, "validation": validation},
    }


@pytest.mark.parametrize("metric", ORACLES)
@pytest.mark.parametrize(("train", "validation"), [([980, 20], [196, 4]), ([5, 9, 7], [6, 2, 3])])
def test_it_is_scikit_learns_most_frequent_class_of_training(metric, train, validation):
    labels = {n: np.repeat(range(len(c)), c) for n, c in (("train", train), ("validation", validation))}
    dummy = DummyClassifier(strategy="most_frequent").fit(labels["train"][:, None], labels["train"])
    expected = ORACLES[metric](labels["validation"], dummy.predict(labels["validation"][:, None]))
    assert majority_of(page(train, validation), metric=metric) == pytest.approx(expected)


def test_nothing_is_said_before_the_texts_were_read_or_where_texts_have_several_labels():
    assert majority_of(None, metric="accuracy") is None
    several = {**page([60, 80], [20, 30]), "train": 100, "validation": 40}
    assert majority_of(several, metric="macro_f1") is None


def test_a_goal_below_both_is_called_out_with_both():
    assert call_out(0.85, words=0.99, majority=0.98, metric="accuracy") == (
        "The goal of 85 % validation accuracy asks for little: always answering the most frequent class has 98.00 % and the "
        "words alone have 99.00 %. Raise goal.validation_accuracy above that, or take another metric."
    )


def test_a_goal_below_the_words_alone_is_called_out_with_these():
    assert call_out(0.5, words=0.7, majority=0.495, metric="macro_f1") == (
        "The goal of 50 % validation macro-F1 asks for little: the words alone have 70.00 %. Raise goal.validation_accuracy "
        "above that."
    )


@pytest.mark.parametrize("known", [{"words": 0.8, "majority": 0.8}, {"words": None, "majority": None}])
def test_a_goal_that_asks_for_more_or_as_much_is_not_called_out(known):
    assert call_out(0.8, **known, metric="accuracy") is None


def test_the_report_holds_the_winner_against_the_majority():
    study = fill(make_study())
    summary = summarise(study, make_spec(goal={"validation_accuracy": 0.5}))
    assert DATA["texts_per_class"]["validation"] == [60, 40]
    assert dict(worth(summary.opponents, summary.majority))[ALWAYS_MAJORITY] == (
        "60.00 % validation; trial 1 lies 26.00 points above, standard error 6.00: better"
    )
    assert asks_for_little(summary) == (
        "The goal of 50 % validation accuracy asks for little: always answering the most frequent class has 60.00 %. Raise "
        "goal.validation_accuracy above that, or take another metric."
    )
    assert asks_for_little(summarise(study, make_spec())) is None


def test_a_goal_is_not_to_be_raised_above_what_is_perfect():
    assert call_out(0.99, words=1.0, majority=0.5, metric="accuracy") == (
        "The goal of 99 % validation accuracy asks for little: the words alone have 100.00 %. No goal lies above that."
    )
