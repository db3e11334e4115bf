import pytest

from trainers.columns import check_present, choose_columns, suggest_split
from trainers.config import DataConfig
from trainers.tables import Table

LONG = [f"a rather long text number {i}" for i in range(40)]
FEW = ["good", "bad"] * 20
IDS = [str(i) for i in range(40)]


def table(**columns):
    return Table("reviews.csv", columns, list(range(2, 42)), "line")


def choose(columns, **settings):
    config = DataConfig(source="/reviews.csv", **settings)
    text, label, findings = choose_columns(table(**columns), config)
    return text, label, [f.message for f in findings], [f.severity for f in findings]


def test_usual_names_are_found_whatever_their_case():
    text, label, messages, _ = choose({"id": IDS, "Review": LONG, "SENTIMENT": FEW})
    assert (text, label) == ("Review", "SENTIMENT")
    assert messages == [
        "texts are in column 'Review', found by its name",
        "labels are in column 'SENTIMENT', found by its name",
    ]


def test_the_more_usual_name_wins():
    assert choose({"title": LONG, "text": LONG, "stars": FEW, "label": FEW})[:2] == ("text", "label")


def test_named_columns_are_taken():
    assert choose({"text": LONG, "b": LONG, "label": FEW, "d": FEW}, text="b", label="d")[:2] == ("b", "d")


def test_columns_without_a_usual_name_are_found_by_content():
    text, label, messages, _ = choose({"id": IDS, "a": LONG, "b": FEW})
    assert (text, label) == ("a", "b")
    assert messages[0] == "texts are in column 'a', found by its content"


def test_several_columns_that_look_right_are_an_error_that_names_them():
    text, label, messages, severities = choose({"a": LONG, "b": LONG, "c": IDS})
    assert (text, label, severities) == (None, None, ["error", "error"])
    assert messages == [
        "no column has a usual name for texts (text, texts, sentence, review, content, ...), and 'a', 'b' look like "
        "them; columns are 'a', 'b', 'c'; name one with data.text",
        "no column has a usual name for labels (label, labels, class, category, target, ...), and none looks like "
        "them; columns are 'a', 'b', 'c'; name one with data.label",
    ]


def test_a_named_column_that_is_missing_is_an_error_with_the_nearest():
    text, _, messages, severities = choose({"review": LONG, "label": FEW}, text="reviw")
    assert (text, severities) == (None, ["error", "note"])
    assert messages[0] == (
        "data.text = 'reviw': no column 'reviw'; columns are 'review', 'label'; did you mean 'review'?"
    )


def test_one_column_cannot_be_both():
    *_, messages, severities = choose({"text": LONG, "label": FEW}, text="text", label="text")
    assert severities[-1] == "error"
    assert messages[-1] == "data.text and data.label must be two columns, got 'text' for both; change one"


def test_a_file_without_a_header_is_told_by_a_label_in_its_place():
    *_, messages, severities = choose({LONG[0]: LONG[1:], "bad": FEW[1:]})
    assert severities[-1] == "error"
    assert messages[-1] == (
        f"the first line must name the columns, got {LONG[0]!r}, 'bad', and 'bad' is also a label; put a line such "
        "as text,label on top"
    )


def test_a_further_file_must_have_the_same_columns():
    (finding,) = check_present(table(txt=LONG, label=FEW), ("text", "label"))
    assert (finding.severity, str(finding)) == (
        "error",
        "reviews.csv: no column 'text'; columns are 'txt', 'label'; did you mean 'txt'?",
    )


def test_a_column_that_seems_to_name_splits_is_pointed_out():
    (finding,) = suggest_split(table(text=LONG, label=FEW, fold=["Train", "dev"] * 20))
    assert (finding.severity, finding.message) == (
        "warning",
        "column 'fold' seems to name each row's split and is not used; set data.split = 'fold' to respect it",
    )


@pytest.mark.parametrize("values", [["train"] * 40, ["train", "other"] * 20])
def test_a_column_of_one_split_or_of_other_words_names_no_splits(values):
    assert suggest_split(table(text=LONG, label=FEW, fold=values)) == []
