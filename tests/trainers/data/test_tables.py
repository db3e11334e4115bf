import csv
import json

import pytest
from hypothesis import given, strategies as st

from trainers.data.tables import read_csv, read_jsonl
from trainers.errors import InputError

HEADER = b"text,label\n"


@pytest.fixture
def write(tmp_path):
    """A function: write a file of these bytes."""

    def write(content, name="reviews.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def kinds(table, severity):
    return [f.kind for f in table.findings if f.severity == severity]


def refusal(read, path):
    with pytest.raises(InputError) as caught:
        read(path)
    return str(caught.value)


def test_every_value_of_a_csv_stays_the_string_it_is(write):
    table = read_csv(write(HEADER + b"NA,007\nnull,1.0\n007,True\n1.50,NaN\n"))
    assert table.columns == {"text": ["NA", "null", "007", "1.50"], "label": ["007", "1.0", "True", "NaN"]}


def test_rows_know_their_lines_across_quoted_breaks_and_blank_lines(write):
    table = read_csv(write(HEADER + b'"two\nlines",a\n\nb,b\n"x""y",c\n'))
    assert table.lines == [2, 5, 6]
    assert table.columns["text"] == ["two\nlines", "b", 'x"y']


def test_rows_of_nothing_but_delimiters_are_no_rows(write):
    assert read_csv(write(HEADER + b"a,b\n,\n , \n")).lines == [2]


@pytest.mark.parametrize(
    ("content", "name", "word"),
    [
        (b"text;label\na, b;c\n", "reviews.csv", "semicolons"),
        (b"text\tlabel\na, b\tc\n", "reviews.csv", "tabs"),
        (b"text|label\na, b|c\n", "reviews.csv", "bars"),
        (b"text\tlabel\na, b\tc\n", "reviews.tsv", None),
    ],
)
def test_the_delimiter_is_taken_from_the_header_and_said_if_unusual(write, content, name, word):
    table = read_csv(write(content, name))
    assert table.columns == {"text": ["a, b"], "label": ["c"]}
    said = [f.message for f in table.findings if f.kind == "delimiter"]
    assert said == ([f"columns are set apart by {word}"] if word else [])


def test_all_mistakes_of_a_csv_are_told_at_once_with_their_lines(write):
    content = b"text,label,text\na,b,c\nd,e\nf,g,h,i\n" + b'"wrong" quote,x,y\n' + b"j,k,l\n"
    assert refusal(read_csv, write(content)) == (
        "reviews.csv, line 5: a field that begins with a quote must end with one, right before the next delimiter, and "
        "a quote inside it is doubled; fix these; "
        "reviews.csv, lines 3, 4: a row must have 3 fields as the header has, got 2 and 4; put texts that hold the "
        "delimiter or a line break in quotes; "
        "reviews.csv, line 1: columns must have different names, got 'text' more than once; rename them"
    )


def test_a_quote_that_never_ends_is_named_with_the_line_where_it_begins(write):
    message = refusal(read_csv, write(HEADER + b'good,a\n"never ends,b\nc,d\n'))
    assert message.startswith("reviews.csv, line 3: a field that begins with a quote must end with one")


def test_unpaired_quotes_in_a_tsv_are_taken_for_what_they_are(write):
    table = read_csv(write(b'text\tlabel\n"so\tbad\n"it" is\tgood\n', "reviews.tsv"))
    assert table.columns["text"] == ['"so', '"it" is']
    assert kinds(table, "mended") == ["quoting"]


def test_what_was_noticed_before_an_error_is_told_with_it(write):
    message = refusal(read_csv, write(b"text;label\na;b;c\nd;e\nf\xe9;g\n"))
    assert message == (
        "reviews.csv, line 2: a row must have 2 fields as the header has, got 3; put texts that hold the delimiter or a "
        "line break in quotes; noticed on the way: reviews.csv, line 4: not UTF-8: read as Windows-1252 (latin-1); save "
        "the file as UTF-8 if letters look wrong; reviews.csv: columns are set apart by semicolons"
    )


def test_a_delimiter_named_in_the_file_is_said_and_the_header_has_the_next_line(write):
    table = read_csv(write(b"sep=^\ntext^label\na^b\n"))
    assert (table.columns, table.header, table.lines) == ({"text": ["a"], "label": ["b"]}, 2, [3])
    assert [f.message for f in table.findings if f.kind == "delimiter"] == ["columns are set apart by '^'"]


def test_doubled_names_are_told_with_the_line_of_the_header(write):
    message = refusal(read_csv, write(b"\nsep=;\na;a\nb;c\n"))
    assert message.startswith(
        "reviews.csv, line 3: columns must have different names, got 'a' more than once"
    )


def test_columns_without_a_name_and_without_content_are_none(write):
    table = read_csv(write(b"v1,v2,,,\nham,so what,,,\nspam,win,,,\n"))
    assert table.columns == {"v1": ["ham", "spam"], "v2": ["so what", "win"]}
    assert kinds(table, "warning") == []


def test_what_is_left_over_in_columns_without_a_name_is_warned_of_with_its_lines(write):
    table = read_csv(write(b"v1,v2,,\nham,so what,,\nspam,win, now,\nham,well,,\nham,so,, so\nham,no,,\n"))
    assert list(table.columns) == ["v1", "v2"]
    assert [str(f) for f in table.findings if f.severity == "warning"] == [
        "reviews.csv, lines 3, 5: the contents of columns without a name are not read; name them, or put texts that hold "
        "the delimiter in quotes"
    ]


def test_row_numbers_may_have_no_name(write):
    table = read_csv(write(b",text,label\n0,a,x\n1,b,y\n"))
    assert table.columns == {"": ["0", "1"], "text": ["a", "b"], "label": ["x", "y"]}
    assert kinds(table, "warning") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            "reviews.csv: must have a first line that names the columns, and rows below it; the file is empty",
        ),
        (HEADER, "reviews.csv: must have rows below its header 'text', 'label', got none; add them"),
    ],
)
def test_a_file_without_rows_is_refused(write, content, message):
    assert refusal(read_csv, write(content)) == message


def test_a_byte_order_mark_is_no_part_of_the_first_column(write):
    table = read_csv(write(b"\xef\xbb\xbf" + HEADER + b"a,b\n"))
    assert list(table.columns) == ["text", "label"]
    assert [f.message for f in table.findings] == ["read as UTF-8, without its byte order mark"]


def test_utf_16_is_read_if_it_says_so(write):
    table = read_csv(write("text\tlabel\nžluťoučký\tb\n".encode("utf-16"), "reviews.tsv"))
    assert table.columns["text"] == ["žluťoučký"]


def test_utf_16_that_does_not_say_so_is_refused(write):
    path = write("text,label\na,b\n".encode("utf-16-le"))
    assert (
        refusal(read_csv, path)
        == f"{path} must be text, got a fifth or more of NUL bytes, as in UTF-16 without a byte order mark; save it as UTF-8"
    )


def test_what_is_not_utf_8_is_read_as_windows_1252_and_counted(write):
    table = read_csv(write("text,label\ncafé “très” bon,a\nplain,b\nœuvre,a\n".encode("cp1252")))
    assert table.columns["text"] == ["café “très” bon", "plain", "œuvre"]
    (finding,) = [f for f in table.findings if f.kind == "encoding"]
    assert (finding.severity, finding.lines, finding.count) == ("mended", (2, 4), 2)
    assert str(finding) == (
        "reviews.csv, lines 2, 4: not UTF-8: read as Windows-1252 (latin-1); save the file as UTF-8 if letters look "
        "wrong"
    )


def test_windows_1252_that_looks_like_utf_8_in_places_is_still_read_whole(write):
    text = "text,label\nÀ, É…,a\n".replace(", ", " ") + "déjà vu à côté,b\n"
    assert read_csv(write(text.encode("cp1252"))).columns["text"] == ["À É…", "déjà vu à côté"]


def test_the_gaps_of_windows_1252_are_latin_1(write):
    assert read_csv(write(HEADER + b"\x81\xe9,a\n")).columns["text"] == ["\x81é"]


def test_a_stray_byte_leaves_the_rest_of_a_utf_8_file_alone(write):
    table = read_csv(write(HEADER + "žluťoučký kůň,a\n".encode() + b"caf\xe9,b\n"))
    assert table.columns["text"] == ["žluťoučký kůň", "café"]
    (finding,) = [f for f in table.findings if f.kind == "encoding"]
    assert (
        str(finding)
        == "reviews.csv, line 3: UTF-8 but for 1 bytes, which were read as Windows-1252 (latin-1)"
    )


def test_a_text_of_ten_megabytes_is_read_and_the_limit_of_the_csv_module_is_left_as_it_was(write):
    before = csv.field_size_limit()
    table = read_csv(write(HEADER + b"long " * 2_000_000 + b",a\n"))
    assert len(table.columns["text"][0]) == 10_000_000
    assert csv.field_size_limit() == before


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.csv"
    assert refusal(read_csv, path) == (
        f"{path} cannot be read: No such file or directory; check path and permissions"
    )


def test_numbers_and_words_of_jsonl_stay_as_they_are_written(write):
    lines = (
        b'{"text": "007", "label": true}\n\n{"text": 1.50, "label": 3}\n{"text": "null", "label": null}\n{}\n'
    )
    table = read_jsonl(write(lines, "reviews.jsonl"))
    assert table.columns == {"text": ["007", "1.50", "null", None], "label": [True, "3", None, None]}
    assert table.lines == [1, 3, 4, 5]


def test_all_mistakes_of_a_jsonl_file_are_told_at_once_with_their_lines(write):
    lines = b'{"text": "a"}\n[1]\n{"text": \n{"text": "a", "text": "b"}\n"x"\n'
    message = refusal(read_jsonl, write(lines, "reviews.jsonl"))
    rule = 'every line must be one JSON object such as {"text": ..., "label": ...}, got'
    assert message == (
        f"reviews.jsonl, line 2: {rule} a list; fix it; "
        f"reviews.jsonl, line 3: {rule} expecting value; fix it; "
        f"reviews.jsonl, line 4: {rule} the key 'text' twice; fix it; "
        f"reviews.jsonl, line 5: {rule} a str; fix it"
    )


def test_an_empty_jsonl_file_is_refused(write):
    message = refusal(read_jsonl, write(b"\n", "reviews.jsonl"))
    assert message == "reviews.jsonl: must have one JSON object a line; the file is empty"


@given(st.lists(st.tuples(st.text(), st.text(min_size=1)), min_size=1))
def test_any_unicode_survives_csv(tmp_path_factory, rows):
    rows = [(text, f"l{label}") for text, label in rows]  # a row of blanks alone is no row
    path = tmp_path_factory.mktemp("csv") / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    table = read_csv(path)
    assert list(zip(table.columns["text"], table.columns["label"], strict=True)) == rows


@given(st.lists(st.text(), min_size=1), st.booleans())
def test_any_unicode_survives_jsonl(tmp_path_factory, texts, ascii_only):
    path = tmp_path_factory.mktemp("jsonl") / "reviews.jsonl"
    lines = (json.dumps({"text": text}, ensure_ascii=ascii_only) for text in texts)
    path.write_bytes("\n".join(lines).encode())
    assert read_jsonl(path).columns["text"] == texts


def test_a_json_array_of_objects_is_read(write):
    table = read_jsonl(write(b'\n[\n {"text": "a", "label": 1.50},\n {"label": "b"}\n]\n', "reviews.jsonl"))
    assert table.columns == {"text": ["a", None], "label": ["1.50", "b"]}
    assert (table.lines, table.unit) == ([1, 2], "row")


@pytest.mark.parametrize(
    ("content", "place", "got"),
    [
        (b'[\n {"text": "a"},\n {"text" "b"}\n]', ", line 3", "expecting ':' delimiter"),
        (b'[{"text": "a"}, "b", 5]', "", "a str as item 2"),
        (b'[{"text": "a", "text": "b"}]', "", "the key 'text' twice"),
        (b"[]", "", "an empty array"),
    ],
)
def test_a_json_array_that_cannot_be_read_is_refused_in_one_voice(write, content, place, got):
    assert refusal(read_jsonl, write(content, "reviews.jsonl")) == (
        f"reviews.jsonl{place}: must be one JSON array of objects, or have one object a line, got {got}; fix it"
    )


def test_an_array_a_line_is_no_array_of_objects(write):
    assert refusal(read_jsonl, write(b'["a", 1]\n["b", 0]\n', "reviews.jsonl")) == (
        'reviews.jsonl, lines 1, 2: every line must be one JSON object such as {"text": ..., "label": ...}, got a list; '
        "fix it"
    )
