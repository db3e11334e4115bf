import pytest

from trainers.data.ordering import check_order, check_positive, guess_order


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("1", "2", "3", "4", "5"), ("1", "2", "3", "4", "5")),
        (("-1", "0", "1"), ("-1", "0", "1")),
        (("1 star", "10 stars", "2 stars"), ("1 star", "2 stars", "10 stars")),
        (("Level 2", "level 3", "Level 1"), ("Level 1", "Level 2", "level 3")),
        (("high", "low", "medium"), ("low", "medium", "high")),
        (("Always", "Never", "Sometimes"), ("Never", "Sometimes", "Always")),
        (("strongly_agree", "neutral", "disagree"), ("disagree", "neutral", "strongly_agree")),
        (("negative", "neutral", "positive"), ("negative", "neutral", "positive")),
    ],
)
def test_numbers_and_known_words_have_an_order(names, order):
    assert guess_order(names) == order


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1"),
        ("low", "high"),
        ("sports", "world", "business"),
        ("1", "2", "x"),
        ("1", "01", "2"),
        ("1 star", "2 stars", "3 pies"),
        ("10115", "20095", "80331"),
        tuple(map(str, range(20))),
        ("low", "Low", "high"),
        ("never", "low", "high"),
    ],
)
def test_other_classes_have_none(names):
    assert guess_order(names) is None


def messages(findings):
    return [finding.message for finding in findings]


def test_an_order_of_all_classes_is_sound():
    assert check_order(("2", "1"), {"1", "2"}, file="r.csv") == []


def test_names_that_are_no_classes_and_classes_without_a_place_are_both_told():
    found = check_order(("low", "medum", "high"), {"low", "medium", "high"}, file="r.csv")
    assert messages(found) == [
        "data.ordered must name classes, got 'medum', of which there is no text; classes are 'high', 'low', 'medium'; did you "
        "mean 'medium'?",
        "data.ordered must name every class, got none of 'medium'; put them in their place",
    ]
    assert {finding.severity for finding in found} == {"error"}


def test_the_positive_class_is_one_of_two():
    assert check_positive("spam", {"ham", "spam"}, file="r.csv") == []
    assert messages(check_positive("spma", {"ham", "spam"}, file="r.csv")) == [
        "data.positive must be one of 'ham', 'spam', got 'spma'; did you mean 'spam'?"
    ]
    assert messages(check_positive("a", {"a", "b", "c"}, file="r.csv")) == [
        "data.positive is one of two classes, got 3 classes; remove it"
    ]
