import random

import pytest

from trainers.labels import FEWEST_TEXTS, check_classes, class_names, look_shuffled


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["pos", "neg", "pos"], ("neg", "pos")),
        (["True", "False"], ("False", "True")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "n/a"], ("10", "9", "n/a")),
        (["007", "7"], ("007", "7")),
    ],
)
def test_classes_are_sorted_integers_by_number(labels, names):
    assert class_names(labels) == names


def said(labels, smallest=10):
    return [(f.severity, str(f)) for f in check_classes(labels, smallest=smallest, file="reviews.csv")]


def test_two_classes_with_enough_texts_give_no_cause_for_talk():
    assert said(["a"] * 10 + ["b"] * 10) == []


def test_no_texts_are_an_error():
    assert said([]) == [("error", "reviews.csv: must have labelled texts, got none; add them")]


def test_one_class_is_an_error():
    message = "reviews.csv: must have texts of two classes at least, got 'a' alone; add the others"
    assert said(["a"] * 30) == [("error", message)]


def test_small_classes_are_an_error_that_names_the_first_of_them():
    labels = ["big"] * 20 + [name for i, name in enumerate("pqrstuv", 1) for _ in range(i)]
    assert said(labels) == [
        (
            "error",
            "reviews.csv: each of the 8 classes must have 10 distinct texts, got 'p' 1, 'q' 2, 'r' 3, 's' 4, 't' 5 "
            "and 2 more; add texts, or merge or drop these classes",
        )
    ]


def test_names_that_differ_in_case_alone_are_a_warning():
    labels = ["Good"] * 10 + ["good"] * 10 + ["bad"] * 10
    assert said(labels) == [
        ("warning", "reviews.csv: classes 'Good' and 'good' differ in case or blanks alone; are they one?")
    ]


@pytest.fixture(scope="module")
def reviews(many_reviews):
    """Texts and labels of reviews, as two lists."""
    return [text for text, _ in many_reviews], [label for _, label in many_reviews]


def shuffled(labels, seed):
    return random.Random(seed).sample(labels, len(labels))


def test_sound_labels_do_not_look_shuffled(reviews):
    assert not look_shuffled(*reviews)


def test_shuffled_labels_are_found_out(reviews):
    texts, labels = reviews
    found = sum(look_shuffled(texts, shuffled(labels, seed)) for seed in range(20))
    assert found >= 18  # of 20; one in a hundred passes by chance


def test_a_rare_class_does_not_make_labels_look_shuffled(reviews):
    texts, labels = reviews
    rare = [i for i, label in enumerate(labels) if label == "good"][:25]
    chosen = [*rare, *(i for i, label in enumerate(labels) if label == "bad")]
    assert len(chosen) >= FEWEST_TEXTS
    assert not look_shuffled([texts[i] for i in chosen], [labels[i] for i in chosen])


def test_too_few_texts_tell_nothing(reviews):
    texts, labels = reviews
    few = FEWEST_TEXTS - 1
    assert not look_shuffled(texts[:few], shuffled(labels, 0)[:few])
