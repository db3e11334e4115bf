from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.model_selection import train_test_split

from trainers.config import DataConfig
from trainers.data.sources import Row
from trainers.data.splitting import SPLITS, split_rows
from trainers.errors import InputError


def split(labels, *, given=None, clusters=None, **settings):
    given = given or [None] * len(labels)
    rows = [
        Row(f"text {i}", str(k), s, "r.csv", i + 2)
        for i, (k, s) in enumerate(zip(labels, given, strict=True))
    ]
    clusters_N = np.arange(len(labels)) if clusters is None else np.array(clusters)
    return split_rows(rows, np.array(labels), clusters_N, DataConfig(source="/r.csv", **settings))


def sizes(parts):
    return tuple(len(parts[name]) for name in SPLITS)


def test_splits_without_a_size_take_a_fifth():
    parts, findings = split([0, 1] * 100)
    assert (sizes(parts), findings) == ((120, 40, 40), [])


@given(
    st.lists(st.integers(0, 2), min_size=150, max_size=200),
    st.integers(10, 30),
    st.integers(10, 30),
    st.one_of(st.none(), st.integers(10, 80)),
)
def test_made_splits_are_disjoint_and_stratified_and_of_the_sizes_asked_for(labels, validation, test, train):
    labels = [*labels, *[0, 1, 2] * 10]
    parts, _ = split(labels, validation=validation, test=test, train=train)
    rest = len(labels) - validation - test
    assert sizes(parts) == (train or rest, validation, test)
    assert len(np.unique(np.concatenate(list(parts.values())))) == sum(sizes(parts))
    for rows in parts.values():
        for label, count in Counter(labels).items():
            expected = len(rows) * count / len(labels)
            assert abs((np.array(labels)[rows] == label).sum() - expected) <= 3


def test_without_given_splits_and_near_duplicates_rows_fall_as_scikit_learn_draws_them():
    labels = np.array([0, 1, 1] * 60)
    parts, _ = split(labels.tolist(), validation=30, test=20, train=50, seed=3)
    rest, test = train_test_split(np.arange(180), test_size=20, stratify=labels, random_state=3)
    rest, validation = train_test_split(rest, test_size=30, stratify=labels[rest], random_state=3)
    train, _ = train_test_split(rest, train_size=50, stratify=labels[rest], random_state=3)
    assert [parts[name].tolist() for name in SPLITS] == [train.tolist(), validation.tolist(), test.tolist()]


def test_given_splits_are_respected():
    given = ["train", "train", "validation", "test"] * 25
    parts, findings = split([0, 0, 0, 0, 1, 1, 1, 1] * 12 + [0] * 4, given=given)
    for name in SPLITS:
        assert {given[i] for i in parts[name]} == {name}
    assert (sizes(parts), findings) == ((50, 25, 25), [])


@pytest.mark.parametrize(("present", "expected"), [("validation", (64, 20, 16)), ("test", (64, 16, 20))])
def test_a_missing_split_is_made_of_the_training_texts(present, expected):
    parts, _ = split([0, 1] * 50, given=["train"] * 80 + [present] * 20)
    assert sizes(parts) == expected
    assert parts[present].tolist() == list(range(80, 100))


def test_a_given_split_is_thinned_to_the_size_asked_for():
    parts, _ = split(
        [0, 1] * 50, given=["train"] * 60 + ["validation"] * 40, validation=10, test=10, train=20
    )
    assert sizes(parts) == (20, 10, 10)
    assert min(parts["validation"]) >= 60
    assert sum(i % 2 for i in parts["validation"]) == 5


@given(st.lists(st.integers(0, 60), min_size=140, max_size=140), st.integers(0, 5))
def test_near_duplicates_never_stand_in_two_splits(clusters, seed):
    clusters = [*clusters, *range(100, 160)]
    first = {c: i for i, c in reversed(list(enumerate(clusters)))}
    clusters = [first[c] for c in clusters]
    parts, findings = split([0, 1] * 100, clusters=clusters, validation=10, test=10, seed=seed)
    where = [{clusters[i] for i in parts[name]} for name in SPLITS]
    assert sum(map(len, where)) == len(set.union(*where))
    assert sizes(parts)[1:] == (10, 10)
    left_out = 200 - sum(sizes(parts))
    assert sum(f.count for f in findings if f.kind == "near duplicates") == left_out
    assert {clusters[i] for name in SPLITS for i in parts[name]} == set(clusters)


def test_near_duplicates_stay_together_in_training():
    clusters = [0, 0, 0, *range(3, 100)]
    parts, _ = split([0, 1] * 50, clusters=clusters)
    in_training = [i in parts["train"] for i in range(3)]
    assert in_training in ([True] * 3, [False] * 3)


def test_training_may_be_larger_than_the_number_of_texts_that_differ():
    clusters = [0] * 50 + list(range(50, 100))
    parts, _ = split([0, 1] * 50, clusters=clusters, train=60, validation=10, test=10, seed=1)
    assert sizes(parts) == (60, 10, 10)


def test_a_near_duplicate_across_given_splits_is_a_warning_with_its_line():
    given = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    clusters = [*range(99), 5]
    parts, findings = split([0, 1] * 50, given=given, clusters=clusters)
    assert sizes(parts) == (60, 20, 20)
    assert [(f.severity, str(f)) for f in findings] == [
        (
            "warning",
            "r.csv, line 7: rows of training say nearly the same as one that the given validation or test split holds, "
            "and make its figures flatter; leave them out",
        )
    ]


def refusal(*arguments, **settings):
    with pytest.raises(InputError) as caught:
        split(*arguments, **settings)
    return str(caught.value)


def test_sizes_beyond_the_texts_are_an_error():
    assert refusal([0, 1] * 50, train=60, validation=30, test=20) == (
        "data.train + data.validation + data.test must not exceed the 100 distinct texts of 'r.csv', got 60 + 30 + 20; "
        "lower them"
    )


def test_near_duplicates_count_once_towards_the_sizes():
    clusters = [0] * 30 + list(range(30, 100))
    assert refusal([0, 1] * 50, clusters=clusters, validation=40, test=30) == (
        "data.train + data.validation + data.test must not exceed the 71 distinct texts of 'r.csv' (near duplicates "
        "count once), got all the rest + 40 + 30; lower them"
    )


def test_a_size_beyond_a_given_split_is_an_error():
    given = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    assert refusal([0, 1] * 50, given=given, test=21) == (
        "data.test must not exceed the 20 distinct texts of that split, got 21; lower it"
    )


def test_too_few_texts_for_a_fifth_are_an_error():
    assert refusal([0, 1] * 20) == (
        "each split must have 10 texts at least, a fifth of 40 gives test 8; add texts, or set data.test"
    )


def test_a_given_split_that_is_too_small_is_an_error():
    given = ["train"] * 60 + ["validation"] * 9 + ["test"] * 31
    assert (
        refusal([0, 1] * 50, given=given)
        == "the validation split must have 10 texts at least, got 9; add some"
    )


def test_more_classes_than_texts_of_a_split_are_an_error():
    message = refusal(list(range(12)) * 20, validation=20, test=10)
    assert message.startswith(
        "data.test = 10 of 240 texts cannot be drawn by class: The test_size = 10 should be"
    )
    assert message.endswith("; change the sizes, or add texts to the smallest class")


def test_a_class_that_training_lacks_is_an_error():
    given = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    assert refusal([0, 1] * 30 + [2] * 40, given=given) == (
        "the train split has no text of '2', which nothing can then learn; add some, or drop the class"
    )


def test_a_class_that_validation_lacks_is_a_warning():
    given = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    _, findings = split([0, 1, 2] * 20 + [0, 1] * 10 + [0, 2] * 10, given=given)
    assert [(f.severity, f.message) for f in findings] == [
        ("warning", "the validation split has no text of '2'"),
        ("warning", "the test split has no text of '1'"),
    ]


def test_a_drawn_split_that_is_too_small_for_a_rare_class_says_so():
    _, findings = split([0] * 988 + [1] * 12, validation=20)
    assert [f.message for f in findings] == [
        "the validation split has no text of '1': of 1,000 texts, 12 are, too few for one in 20 drawn ones; set data.validation "
        "= 84 or more, or add texts"
    ]
    parts, findings = split([0] * 988 + [1] * 12, validation=84)
    assert not findings
    assert (parts["validation"] >= 988).sum() == 1


def test_a_split_without_the_class_that_is_looked_for_is_an_error():
    assert refusal([0] * 988 + [1] * 12, validation=20, positive="1").startswith(
        "data.positive must have a text in each split: the validation split has no text of '1': of 1,000 texts, 12 are"
    )


def test_one_in_five_hundred_stands_in_each_split():
    parts, findings = split([0] * 5988 + [1] * 12)
    assert not findings
    assert [int((parts[name] >= 5988).sum()) for name in SPLITS] == [8, 2, 2]
