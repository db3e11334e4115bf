import pytest

from trainers.data.labels import check_classes, check_names, class_names, merged_classes, name_classes


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
            "reviews.csv: each of the 8 classes must have 10 distinct texts, for a fifth of them each to go to validation and test, got 'p' 1, 'q' 2, 'r' 3, 's' 4, 't' 5 "
            "and 2 more; add texts, or merge or drop these classes, or give all splits yourself (data.split), where training needs one text",
        )
    ]


def test_long_names_of_small_classes_are_cut():
    ((_, message),) = said(["big"] * 20 + ["x" * 100])
    assert f"got {'x' * 40 + '...'!r} 1;" in message


def is_regression(labels, smallest=10):
    return any("regression is not supported" in message for _, message in said(labels, smallest))


def test_amounts_are_an_error_that_says_that_regression_is_not_supported():
    assert said([f"{i / 8}" for i in range(100)] + ["0.5"]) == [
        (
            "error",
            "reviews.csv: labels must be a few classes, got 100 distinct numbers such as '0.0', '0.125', '0.25', 99 of "
            "them once; regression is not supported: sort the numbers into a few bins, and make the bins the labels",
        )
    ]


def test_more_than_30_integers_most_of_which_occur_once_are_amounts():
    many = ["0"] * 15 + ["1"] * 15
    assert is_regression([str(i) for i in range(31)])
    assert not is_regression([str(i) for i in range(30)])
    assert is_regression([str(i) for i in range(2, 18)] + [str(i) for i in range(100, 115) for _ in "ab"])
    assert not is_regression([str(i) for i in range(2, 17)] + [str(i) for i in range(100, 116) for _ in "ab"])
    assert is_regression(many + [str(i) for i in range(2, 40)])


def test_more_than_10_fractions_are_amounts_if_they_are_most_of_the_numbers():
    assert is_regression([f"{i}.5" for i in range(11) for _ in "abc"])
    assert not is_regression([f"{i}.5" for i in range(10) for _ in "abc"])
    assert not is_regression([str(i) for i in range(11)] + [f"{i}.5" for i in range(11)])


def test_amounts_may_have_signs_and_exponents():
    assert is_regression([f"-{i}.25e-05" for i in range(1, 12)])
    assert is_regression([f"1.{i}E+99999" for i in range(1, 32)])


@pytest.mark.parametrize("word", ["n/a", "007", "1.2.3", "nan", "0x1", "1_0"])
def test_one_label_that_is_no_number_makes_all_of_them_names(word):
    assert not is_regression([f"{i / 8}" for i in range(100)] + [word])


def test_amounts_of_given_splits_are_an_error_if_most_occur_once():
    assert is_regression([str(i) for i in range(31)], smallest=1)
    assert is_regression([f"{i}.5" for i in range(11)], smallest=1)
    assert not is_regression([f"{i}.5" for i in range(11) for _ in "ab"], smallest=1)


def test_fractions_with_enough_texts_each_stay_classes():
    assert said([f"{i}.5" for i in range(20) for _ in range(10)]) == []


def test_names_that_differ_in_case_or_leading_zeros_alone_are_a_warning():
    names = ["Good", "good", "bad", "01", "1", "0", "00", "1.0", "0x1"]
    assert [(f.severity, str(f)) for f in check_names(names, file="reviews.csv")] == [
        ("warning", "reviews.csv: classes 'Good' and 'good' differ in case alone; are they one?"),
        ("warning", "reviews.csv: classes '0' and '00' differ in leading zeros alone; are they one?"),
        ("warning", "reviews.csv: classes '01' and '1' differ in leading zeros alone; are they one?"),
    ]
    assert check_names(["good", "bad", "007", "08"], file="reviews.csv") == []


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["0", "0.0", "1.00", "1"], ["0", "0", "1", "1"]),
        (["2.50", "2.5", "+3", "3", "-0", "0", "\uff17", "7"], ["2.5", "2.5", "3", "3", "0", "0", "7", "7"]),
        (["1", "True", "0", "False"], ["1", "1", "0", "0"]),
        (["1.0", "true", "0.0", "FALSE"], ["1.0", "1.0", "0.0", "0.0"]),
        (["True", "true", "FALSE"], ["True", "True", "FALSE"]),
        (["12345678901234567890.0", "12345678901234567890"], ["12345678901234567890"] * 2),
    ],
)
def test_labels_of_one_value_are_one_class(labels, names):
    assert name_classes(labels) == dict(zip(labels, names, strict=True))


@pytest.mark.parametrize(
    "labels",
    [
        ["0.0", "1.0"],
        ["True", "False"],
        ["01", "1"],
        ["00.5", "0.5"],
        ["1e5", "100000"],
        ["1,000", "1000"],
        ["True", "1", "2"],
        ["nan", "inf", "."],
        ["Good", "good"],
        ["\u0646\u06cc\u200c\u06a9", "\U0001f468\u200d\U0001f469"],
    ],
)
def test_other_labels_keep_their_names(labels):
    assert name_classes(labels) == {label: label for label in labels}
    assert merged_classes(labels) == {}


@pytest.mark.parametrize(
    "label",
    [
        "not good\u200b",
        "\ufeffnot good",
        "not\xa0good",
        "not \u00ad good",
        " not  good\u200e ",
        "not\tgood\0",
    ],
)
def test_labels_are_mended_like_texts(label):
    assert name_classes([label]) == {label: "not good"}
    assert merged_classes([label]) == {}
    assert merged_classes([label, "not good"]) == dict.fromkeys([label, "not good"], "not good")


def test_accents_are_one_however_they_are_put_together():
    assert set(name_classes(["caf\u00e9", "cafe\u0301"]).values()) == {"caf\u00e9"}


def test_a_label_of_nothing_that_is_seen_has_no_name():
    assert name_classes(["\u200b", "a"]) == {"\u200b": "", "a": "a"}
