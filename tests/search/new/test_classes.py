from types import SimpleNamespace

import numpy as np
import pytest

from search.new.classes import choose_classes, say_of_classes
from trainers.errors import InputError


def texts(*names, counts=None, task="one_label"):
    """What is read of texts of these classes."""
    counts = counts or [10] * len(names)
    labels_N = np.repeat(np.arange(len(names)), counts)
    parts = {"train": np.arange(len(labels_N))}
    return SimpleNamespace(class_names=names, labels_N=labels_N, parts=parts, task=task)


def chosen(found, *, metric=None, ordered=False, positive=None):
    return choose_classes(found, metric=metric, ordered=ordered, positive=positive)


@pytest.mark.parametrize("how", [{"ordered": True}, {"metric": "quadratic_kappa"}])
def test_asked_for_an_order_is_taken_from_the_names(how):
    found = chosen(texts("high", "low", "medium"), **how)
    assert found.settings == {"ordered": ("low", "medium", "high")}
    assert (found.flags, found.metric) == (("--ordered",), "quadratic_kappa")


def test_ordered_classes_may_be_judged_by_another_metric():
    assert chosen(texts("1", "2", "3"), ordered=True, metric="macro_f1").metric == "macro_f1"


def test_unasked_an_order_is_a_hint():
    found = chosen(texts("1", "2", "3"))
    assert (found.settings, found.metric) == ({}, None)
    assert found.hint.startswith('ordered = ["1", "2", "3"]  # if these are steps of a scale')
    assert chosen(texts("sports", "world", "business")).hint is None


def test_names_without_an_order_are_an_error():
    with pytest.raises(InputError) as caught:
        chosen(texts("a", "b", "c"), ordered=True)
    assert str(caught.value) == (
        "--ordered needs classes whose names tell their order, three or more small whole numbers or words such as low, medium, "
        "high, got 'a', 'b', 'c'; leave it out, and list them as data.ordered in the file that is written"
    )


def test_average_precision_looks_for_the_rarer_class_or_the_one_that_is_named():
    rare = texts("no", "yes", counts=[3, 30])
    assert chosen(rare, metric="average_precision").settings == {"positive": "no"}
    found = chosen(rare, positive="yes")
    assert (found.settings, found.metric) == ({"positive": "yes"}, "average_precision")
    assert found.flags == ("--positive", "yes")
    assert chosen(texts("no", "yes"), metric="average_precision").settings == {"positive": "yes"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"metric": "average_precision"},
            "--metric average_precision is for two classes, got 3; leave it out",
        ),
        ({"positive": "a"}, "--positive is for two classes, got 3; leave it out"),
    ],
)
def test_of_more_classes_none_is_looked_for(how, message):
    with pytest.raises(InputError, match=message):
        chosen(texts("a", "b", "c"), **how)


@pytest.mark.parametrize("how", [{"ordered": True}, {"positive": "a"}])
def test_several_labels_have_neither(how):
    with pytest.raises(InputError, match="is for one label a text, got several; leave it out"):
        chosen(texts("a", "b", task="several_labels"), **how)


@pytest.mark.parametrize(
    ("counts", "advice"),
    [
        ([980, 20], "see --metric average_precision, by how high texts of 'yes' rank, or --metric macro_f1"),
        ([800, 200], "see --metric macro_f1"),
        ([500, 500], None),
    ],
)
def test_uneven_classes_are_warned_of_with_a_metric(counts, advice, capsys):
    labels_N = np.repeat([0, 1], counts)
    split = SimpleNamespace(labels_N=labels_N)
    splits = SimpleNamespace(
        train=split, validation=split, test=split, class_names=("no", "yes"), task="one_label"
    )
    say_of_classes(chosen(texts("no", "yes")), splits, "accuracy")
    out = capsys.readouterr().out
    assert out == "" if advice is None else out.endswith(f"{advice}\n")
