import pytest

from trainers.data.findings import Finding, at_lines, at_places, stop_on_errors, told_with_errors
from trainers.errors import InputError

RAGGED = Finding("ragged rows", "a row must have 2 fields", "error", "reviews.csv")


def test_a_finding_names_its_file_and_line():
    assert str(at_lines(RAGGED, [7])[0]) == "reviews.csv, line 7: a row must have 2 fields"


def test_many_lines_are_counted_and_the_first_five_shown():
    (finding,) = at_lines(RAGGED, range(12, 2, -1))
    assert (finding.lines, finding.count) == ((3, 4, 5, 6, 7), 10)
    assert str(finding) == "reviews.csv, lines 3, 4, 5, 6, 7 and 5 more: a row must have 2 fields"


def test_no_lines_are_no_finding():
    assert at_lines(RAGGED, []) == []


def test_each_file_gets_a_finding_of_its_own():
    found = at_places(RAGGED, [("a.csv", 3), ("b.csv", 2), ("a.csv", 2)])
    assert [(f.file, f.lines, f.count) for f in found] == [("a.csv", (2, 3), 2), ("b.csv", (2,), 1)]


def test_a_finding_without_lines_names_its_file_alone():
    assert str(RAGGED) == "reviews.csv: a row must have 2 fields"


def test_all_errors_are_told_at_once():
    other = Finding("header only", "must have rows", "error", "test.csv")
    with pytest.raises(InputError) as caught:
        stop_on_errors([*at_lines(RAGGED, [2]), Finding("encoding", "read as UTF-8", "note"), other])
    assert str(caught.value) == "reviews.csv, line 2: a row must have 2 fields; test.csv: must have rows"


@pytest.mark.parametrize("severity", ["warning", "mended", "note"])
def test_nothing_but_an_error_stops(severity):
    finding = Finding("kind", "message", severity)
    stop_on_errors([finding])
    assert finding.mended == (severity == "mended")


def test_an_error_is_told_with_what_may_explain_it():
    found = [
        Finding("encoding", "read as UTF-8", "note", "a.csv"),
        Finding("columns", "labels are in column 'label', found by its name", "note", "a.csv"),
        Finding("guessed columns", "texts are in column 'b', found by its content", "note", "a.csv"),
        Finding("duplicates", "rows were left out", "mended", "a.csv", (3,)),
        RAGGED,
        Finding("alike classes", "classes 'A' and 'a'", "warning", "a.csv"),
    ]
    with pytest.raises(InputError) as caught:
        stop_on_errors(found)
    assert str(caught.value) == (
        "reviews.csv: a row must have 2 fields; noticed on the way: a.csv: classes 'A' and 'a'; a.csv, line 3: rows were "
        "left out; a.csv: texts are in column 'b', found by its content"
    )


def test_an_error_of_a_later_step_is_told_with_what_was_found_before():
    before = [Finding("duplicates", "rows were left out", "mended", "a.csv")]
    with pytest.raises(InputError) as caught, told_with_errors(before):
        raise InputError("too few texts")
    assert str(caught.value) == "too few texts; noticed on the way: a.csv: rows were left out"
    with pytest.raises(InputError) as caught, told_with_errors([]):
        raise InputError("too few texts")
    assert str(caught.value) == "too few texts"
