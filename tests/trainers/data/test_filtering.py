from dataclasses import replace

import pytest

from trainers.data.filtering import admit
from trainers.data.findings import Finding
from trainers.data.sources import Row, Source
from trainers.errors import InputError

SOUND = [(f"text number {i}", str(i % 2)) for i in range(40)]


def source(rows):
    """A source whose rows are (text, label) or (text, label, split), the first of them in line 2."""
    return Source([Row(*row, *[None] * (3 - len(row)), "r.csv", i) for i, row in enumerate(rows, 2)], ())


def said(admitted, severity):
    return [str(f) for f in admitted.findings if f.severity == severity]


def test_sound_rows_are_admitted_as_they_are():
    admitted = admit(source(SOUND))
    assert [(row.text, row.label) for row in admitted.rows] == SOUND
    assert (admitted.findings, admitted.duplicates, admitted.contradictions, admitted.mended) == ((), 0, 0, 0)


def test_mended_texts_are_counted_by_what_was_done():
    admitted = admit(source([("a\0 b", "0"), ("c<br />d\u200b", "1"), ("e  f\0", "0"), *SOUND]))
    assert admitted.mended == 3
    assert [row.text for row in admitted.rows[:3]] == ["a b", "c d", "e f"]
    assert said(admitted, "mended") == [
        "r.csv, lines 2, 4: NUL characters were removed",
        "r.csv, line 3: invisible characters (zero-width, soft hyphens, writing direction) were removed",
        "r.csv, lines 3, 4: markup and white space were cleaned",
    ]


def test_rows_without_text_or_label_are_left_out_and_counted():
    rows = [("", "0"), (" <br /> \u200b", "1"), ("a b", None), *SOUND]
    admitted = admit(source(rows))
    assert len(admitted.rows) == 40
    assert said(admitted, "mended")[-2:] == [
        "r.csv, lines 2, 3: rows without a text were left out",
        "r.csv, line 4: rows without a label were left out",
    ]


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "007", "1.50", "0"])
def test_texts_that_look_like_missing_values_or_numbers_are_texts(text):
    assert text in [row.text for row in admit(source([(text, "0"), *SOUND])).rows]


def test_texts_that_cleaning_made_equal_are_named_so():
    rows = [
        ("cast <b>x</b>", "0"),
        *SOUND,
        ("cast <i>x</i>", "1"),
        ("same<br>", "0"),
        ("same ", "0"),
        ("same", "0"),
    ]
    admitted = admit(source(rows))
    assert said(admitted, "warning") == [
        "r.csv, lines 2, 43: rows with the same text and different labels were left out; one of them must be wrong; the "
        "texts of 2 differ in markup, which was cut out (data.clean = 'html'): data.clean = 'spaces' keeps it"
    ]
    assert (
        "r.csv, lines 45, 46: rows with a text that came before were left out; the texts of 2 differ in markup, which "
        "was cut out (data.clean = 'html'): data.clean = 'spaces' keeps it"
    ) in said(admitted, "mended")


def test_texts_that_differ_in_markup_are_kept_if_asked_for():
    rows = [("cast <b>x</b>", "0"), *SOUND, ("cast <i>x</i>", "1"), (" cast  <i>x</i>", "1")]
    admitted = admit(source(rows), clean="spaces")
    assert (len(admitted.rows), admitted.contradictions, admitted.duplicates) == (42, 0, 1)
    assert said(admitted, "mended")[-1] == "r.csv, line 44: rows with a text that came before were left out"


def test_a_text_of_blanks_is_none_however_it_is_cleaned():
    assert len(admit(source([(" \n", "0"), *SOUND]), clean="none").rows) == 40


def test_labels_of_one_value_are_one_class_and_told_with_their_lines():
    rows = [("one more", "0.0"), ("and one", "1"), ("a third", "1.0"), ("a third", "1"), *SOUND]
    admitted = admit(source(rows))
    assert {row.label for row in admitted.rows} == {"0", "1"}
    assert admitted.contradictions == 0
    assert said(admitted, "mended")[:2] == [
        "r.csv, line 2: '0.0' is the same value as '0', so they are one class",
        "r.csv, line 4: '1.0' is the same value as '1', so they are one class",
    ]


def test_labels_are_mended_and_counted():
    admitted = admit(source([("a b", "0\u200b"), ("c d", "\ufeff1"), ("e f", "\u200b"), *SOUND]))
    assert {row.label for row in admitted.rows} == {"0", "1"}
    assert said(admitted, "mended") == [
        "r.csv, lines 2, 3, 4: invisible characters and superfluous white space in labels were removed",
        "r.csv, line 4: rows without a label were left out",
    ]


def test_an_error_names_what_explains_it():
    rows = [(f"more {i}", "Good", "train") for i in range(3)] + [
        (f"dull {i}", "bad", "train") for i in range(30)
    ]
    rows += [(f"as good {i}", "good", "validation") for i in range(20)]
    with pytest.raises(InputError) as caught:
        admit(replace(source(rows), findings=(Finding("line ends", "were mended", "mended", "r.csv"),)))
    assert str(caught.value) == (
        "r.csv: each of the 2 classes must have 10 distinct texts, for a fifth of them each to go to validation and test, got 'Good' 3; add texts, or merge or drop these "
        "classes, or give all splits yourself (data.split), where training needs one text; noticed on the way: r.csv: classes 'Good' and 'good' differ in case alone; are they one?; r.csv: were "
        "mended"
    )


def test_equal_texts_are_left_out_but_for_the_first():
    admitted = admit(source([("same", "0"), *SOUND, ("same", "0"), (" same ", "0")]))
    assert (admitted.duplicates, len(admitted.rows), admitted.rows[0].line) == (2, 41, 2)
    assert "r.csv, lines 43, 44: rows with a text that came before were left out" in said(admitted, "mended")


def test_equal_texts_with_two_labels_are_all_left_out_with_a_warning():
    admitted = admit(source([("dull", "0"), *SOUND, ("dull", "1")]))
    assert (admitted.contradictions, len(admitted.rows)) == (2, 40)
    assert said(admitted, "warning") == [
        "r.csv, lines 2, 43: rows with the same text and different labels were left out; one of them must be wrong"
    ]


def test_a_text_of_two_splits_stays_in_the_one_that_is_not_learnt_from():
    given = [
        (text, label, ("train", "validation", "test")[i % 4 % 3]) for i, (text, label) in enumerate(SOUND)
    ]
    leaks = [
        ("leak one", "0", "train"),
        ("leak one", "0", "test"),
        ("two", "1", "validation"),
        ("two", "1", "test"),
    ]
    admitted = admit(source([*leaks, *given]))
    assert [(row.text, row.split) for row in admitted.rows[:2]] == [("leak one", "test"), ("two", "test")]
    assert admitted.duplicates == 2
    assert said(admitted, "mended") == [
        "r.csv, lines 2, 4: rows with a text that validation or test holds, too, were left out of the other split"
    ]


def test_a_small_class_is_an_error_only_where_splits_are_made():
    rare = [(f"rare {i}", "2", split) for i, split in enumerate(("train", "validation", "test"))]
    given = [
        (text, label, ("train", "validation", "test")[i % 4 % 3]) for i, (text, label) in enumerate(SOUND)
    ]
    assert len(admit(source([*rare, *given])).rows) == 43
    with pytest.raises(InputError) as caught:
        admit(source([*SOUND, *[row[:2] for row in rare]]))
    assert str(caught.value) == (
        "r.csv: each of the 3 classes must have 10 distinct texts, for a fifth of them each to go to validation and test, got '2' 3; add texts, or merge or drop these classes, or give all splits yourself (data.split), where training needs one text"
    )


def test_one_class_alone_is_an_error():
    with pytest.raises(InputError) as caught:
        admit(source([(text, "1") for text, _ in SOUND]))
    assert (
        str(caught.value) == "r.csv: must have texts of two classes at least, got '1' alone; add the others"
    )
