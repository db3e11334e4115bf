import pytest

from trainers.config import DataConfig
from trainers.data.columns import check_present, choose_columns, suggest_group, suggest_split, with_header
from trainers.data.tables import Table

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


def csv(*names, values=(LONG[1:], FEW[1:])):
    """A CSV file whose first line is these names."""
    return Table("reviews.csv", dict(zip(names, values, strict=True)), list(range(2, 41)), "line", header=1)


def headed(table, **settings):
    return with_header(table, DataConfig(source="/reviews.csv", **settings))


def test_a_first_line_that_is_a_row_is_one_and_columns_are_numbered():
    found = headed(csv(LONG[0], "bad"))
    assert found.columns == {"column 1": LONG, "column 2": ["bad", *FEW[1:]]}
    assert (found.lines, found.header) == (list(range(1, 41)), None)
    assert [(f.severity, str(f)) for f in found.findings] == [
        (
            "mended",
            "reviews.csv, line 1: the first line looks like a row and was taken for one; columns are called 'column 1', "
            "'column 2'; put a line such as text,label on top if they have names",
        )
    ]


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        ((LONG[0], "label"), {}),
        ((LONG[0], "quality"), {}),
        (("remark", "bad"), {}),
        (("tweet text", "bad"), {}),
        ((LONG[0], "bad"), {"text": LONG[0]}),
        ((LONG[0], "bad"), {"label": "bad"}),
    ],
)
def test_a_first_line_that_names_columns_is_a_header(names, settings):
    assert headed(csv(*names), **settings) == csv(*names)


def test_words_of_texts_are_no_header_where_the_first_file_has_none():
    config = DataConfig(source="/reviews.csv")
    assert with_header(csv(LONG[0], "fair"), config, others_have_none=True).columns["column 2"][0] == "fair"
    assert with_header(csv("text", "fair"), config, others_have_none=True) == csv("text", "fair")


def test_a_class_may_be_called_like_its_column_and_an_unusual_name_is_warned_of():
    config = DataConfig(source="/reviews.csv")
    *_, findings = choose_columns(csv("remark", "bad"), config)
    assert [(f.severity, str(f)) for f in findings[2:]] == [
        (
            "warning",
            "reviews.csv, line 1: the first line was taken for the names of the columns, 'remark', 'bad', though 'bad' is "
            "also a label; put a line such as text,label on top if it is a row",
        )
    ]
    for name, settings in (("text", {}), ("remark", {"label": "bad"})):
        *_, findings = choose_columns(csv(name, "bad"), config.model_copy(update=settings))
        assert [f.severity for f in findings] == ["note", "note"]


def test_names_that_every_row_repeats_are_no_first_line():
    assert choose({"remark": LONG, "bad": FEW})[3] == ["note", "note"]


def test_a_row_in_the_place_of_the_header_is_named_where_columns_are_not_found():
    config = DataConfig(source="/reviews.csv")
    *_, findings = choose_columns(csv(LONG[0], "3", values=(LONG[1:], IDS[1:])), config)
    assert findings[1].message.endswith(
        "name one with data.label, or put a line such as text,label on top if the first is a row"
    )


def test_swapped_columns_are_named():
    *_, messages, severities = choose({"text": FEW, "label": LONG})
    assert (messages[-1], severities[-1]) == (
        "column 'label' holds texts and column 'text' labels; swap them with data.text = 'label' and data.label = 'text'",
        "error",
    )


def test_texts_in_the_place_of_labels_are_warned_of():
    *_, messages, severities = choose({"text": LONG, "topic": LONG[::-1]})
    assert (messages[-1], severities[-1]) == (
        "column 'topic' seems to hold texts rather than labels; name another with data.label",
        "warning",
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


@pytest.mark.parametrize(
    ("name", "values", "is_told"),
    [
        ("patient_id", [f"p{i // 4}" for i in range(80)], True),
        ("authorName", [f"p{i // 4}" for i in range(80)], True),
        ("ID", [str(i // 4) for i in range(80)], True),
        ("id", [str(i) for i in range(80)], False),
        ("row_id", [str(i % 5) for i in range(80)], False),
        ("source", [f"p{i // 4}" for i in range(80)], False),
        ("idea", [f"p{i // 4}" for i in range(80)], False),
    ],
)
def test_a_column_that_may_name_groups_is_told(name, values, is_told):
    table = Table(
        "r.csv",
        {"text": [f"{i} word here" for i in range(80)], "label": ["0", "1"] * 40, name: values},
        list(range(2, 82)),
        "line",
    )
    assert [f.kind for f in suggest_group(table, ("text", "label", None))] == [
        "possible group column"
    ] * is_told


def test_texts_that_begin_alike_are_told():
    texts = [f"report of the clinic in Leeds for ward {i // 2} today: {i}" for i in range(80)]
    table = Table("r.csv", {"text": texts, "label": ["0", "1"] * 40}, list(range(2, 82)), "line")
    assert [str(f) for f in suggest_group(table, ("text", "label", None))] == [
        "r.csv: 80 of 80 texts begin with the same 8 words as another; if they are parts of one document, put its name into a "
        "column and name that with data.group"
    ]
