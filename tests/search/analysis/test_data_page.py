import io

from rich.console import Console

from search.analysis.data_page import DataPage, print_page, warnings_of

FOUND = {"kind": "kind", "file": "r.csv", "unit": "line", "lines": [], "count": 1}
DATA = {
    "train": 60,
    "validation": 20,
    "test": 21,
    "class_names": ["[b]", "good"],
    "texts_per_class": {"train": [30, 30], "validation": [12, 8], "test": [11, 10]},
    "findings": [
        {**FOUND, "severity": "warning", "message": "labels look shuffled", "file": ""},
        {**FOUND, "severity": "mended", "message": "rows were left out", "lines": [3, 9], "count": 2},
        {**FOUND, "severity": "mended", "message": "NUL characters were removed", "lines": [4]},
        {**FOUND, "severity": "note", "message": "read as UTF-8"},
    ],
}


def page(data):
    output = io.StringIO()
    print_page(None if data is None else DataPage.model_validate(data), Console(file=output, width=80))
    return output.getvalue()


def test_a_page_counts_texts_by_class_and_split():
    lines = [line.split() for line in page(DATA).splitlines()]
    assert ["class", "train", "validation", "test"] in lines
    assert ["[b]", "30", "12", "11"] in lines
    assert ["all", "60", "20", "21"] in lines


def test_texts_in_folds_are_counted_once():
    folded = {
        **DATA,
        "folds": 5,
        "validation": 60,
        "texts_per_class": {**DATA["texts_per_class"], "validation": [30, 30]},
    }
    lines = [line.split() for line in page(folded).splitlines()]
    assert ["class", "in", "5", "folds", "test"] in lines
    assert ["[b]", "30", "11"] in lines
    assert ["all", "60", "21"] in lines


def test_texts_with_none_of_several_labels_are_counted():
    counts = {"train": 3, "validation": 2, "test": 1}
    lines = [
        line.split()
        for line in page({**DATA, "several_labels": True, "texts_without_label": counts}).splitlines()
    ]
    assert ["label", "train", "validation", "test"] in lines
    assert lines[lines.index(["none", "of", "them", "3", "2", "1"]) + 1] == ["all", "texts", "60", "20", "21"]


def test_a_page_tells_notes_then_what_was_mended_then_warnings():
    said = [line.strip() for line in page(DATA).splitlines()]
    assert said[-4:] == [
        "r.csv: read as UTF-8",
        "fixed: r.csv, lines 3, 9: rows were left out",
        "fixed: r.csv, line 4: NUL characters were removed",
        "warning: labels look shuffled",
    ]


def test_of_many_classes_the_last_are_counted_together():
    counts = list(range(1, 21))
    names = [f"class{i:02}" for i in range(20)]
    many = {**DATA, "class_names": names, "texts_per_class": dict.fromkeys(DATA["texts_per_class"], counts)}
    said = page(many)
    assert "class11" in said
    assert "class12" not in said
    assert ["8", "more", "132", "132", "132"] in [line.split() for line in said.splitlines()]


def test_before_training_warnings_and_what_was_mended_are_said():
    assert list(warnings_of(DataPage.model_validate(DATA))) == [
        "warning: labels look shuffled",
        "fixed: r.csv, lines 3, 9: rows were left out; r.csv, line 4: NUL characters were removed",
    ]


def test_nothing_is_said_of_sound_texts():
    assert list(warnings_of(DataPage.model_validate({**DATA, "findings": DATA["findings"][-1:]}))) == []


def test_a_study_without_a_data_page_prints_none():
    assert page(None) == ""
    assert page({"train": 60, "validation": 20, "test": 21, "class_names": ["a", "b"]}) == ""
