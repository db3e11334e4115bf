import csv
import io

import pytest
from hypothesis import given, strategies as st

from trainers.data.grid import read_grid


def grid(text, usual=","):
    return read_grid(text, "r.csv", usual=usual)


def said(grid):
    return [(f.severity, str(f)) for f in grid.findings]


def fields(grid):
    return [fields for _, fields in grid.rows]


def lines(grid):
    return [line for line, _ in grid.rows]


def test_a_plain_file_gives_no_cause_for_talk():
    plain = grid('text,label\n"a, b",x\nc,y\n')
    assert (plain.rows, plain.delimiter, plain.findings) == (
        [(1, ["text", "label"]), (2, ["a, b", "x"]), (3, ["c", "y"])],
        ",",
        (),
    )


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ('"Review, in full";label', ";"),
        ("Review, in full;label", ";"),
        ("text;label (a, b, c)", ";"),
        ("text, of all;label", ";"),
        ("text\tlabel, 1|2|3", "\t"),
    ],
)
def test_of_several_delimiters_in_the_header_the_one_that_fits_the_rows_is_taken(header, delimiter):
    rows = [["a, b and; c", "x"], ["c", "y"]]
    found = grid(header + "\n" + "".join(delimiter.join(f'"{f}"' for f in row) + "\n" for row in rows))
    assert (found.delimiter, fields(found)[1:], found.findings) == (delimiter, rows, ())


def test_a_delimiter_that_is_named_above_the_header_is_taken_and_lines_are_counted_from_there():
    for first in ("sep=;\r\n", '"sep=;"\n', "SEP=;;\n"):
        found = grid(first + "text;label\na, b;x\n")
        assert (fields(found), lines(found)) == ([["text", "label"], ["a, b", "x"]], [2, 3])
    assert fields(grid("sep=^\ntext^label\na^b\n")) == [["text", "label"], ["a", "b"]]


def test_a_header_among_the_rows_is_left_out_with_its_line():
    found = grid("text,label\na,x\ntext, label\n\ufefftext,label\nlabel,text\nb,y\n")
    assert (fields(found)[1:], lines(found)[1:]) == ([["a", "x"], ["label", "text"], ["b", "y"]], [2, 5, 6])
    assert said(found) == [
        ("mended", "r.csv, lines 3, 4: the header once more, as where files were joined; left out")
    ]


def test_files_that_name_their_delimiter_may_be_joined():
    found = grid("sep=;\ntext;label\na;x\nsep=;\ntext;label\nb;y\n")
    assert (fields(found)[1:], lines(found)[1:]) == ([["a", "x"], ["b", "y"]], [3, 6])


def test_blanks_before_quotes_are_left_out():
    found = grid('label, text\nx, "a, b"\ny,  "c ""d"""\n')
    assert fields(found) == [["label", "text"], ["x", "a, b"], ["y", 'c "d"']]
    assert said(found) == [("mended", "r.csv: blanks between delimiters and quotes were left out")]


def test_what_was_read_with_a_blank_before_a_quote_stays_as_it_was():
    assert fields(grid('label,text\nx, "a"\n')) == [["label", "text"], ["x", ' "a"']]


def test_a_fault_beside_blanks_before_quotes_is_the_only_one_that_is_told():
    found = grid('label, text\nx, "a, b"\ny, c, d\n')
    assert [line for line in said(found) if line[0] == "error"] == [
        (
            "error",
            "r.csv, line 3: a row must have 2 fields as the header has, got 3; put texts that hold the delimiter or a "
            "line break in quotes",
        )
    ]


def test_a_blank_behind_a_quote_is_named():
    (finding,) = grid('text,label\n"a, b" ,x\n').findings
    assert str(finding) == (
        "r.csv, line 2: a field that begins with a quote must end with one, right before the next delimiter, and a quote "
        "inside it is doubled; fix these"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_lone_carriage_return_inside_a_text_ends_no_row(end, order):
    rows = [["text", "label"], ["one\rtwo", "x"], ["three", "y"]]
    found = grid("".join(",".join(row[::order]) + end for row in rows))
    assert (fields(found), lines(found)) == ([row[::order] for row in rows], [1, 2, 3])
    assert said(found) == [
        ("mended", "r.csv, line 2: carriage returns alone end no row here, and were taken for blanks")
    ]


def test_a_file_of_pandas_with_carriage_returns_is_read(tmp_path):
    pd = pytest.importorskip("pandas")
    rows = [["a\rb", "x"], ["c, d\re", "y"], ["\rf", "x"]]
    path = tmp_path / "r.csv"
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(path, index=False, lineterminator="\n")
    assert fields(grid(path.read_bytes().decode()))[1:] == rows


def test_a_carriage_return_in_quotes_counts_as_no_line():
    found = grid('text,label\n"a\rb\rc",x\nd,y\n')
    assert (lines(found), fields(found)[1], found.findings) == ([1, 2, 3], ["a\rb\rc", "x"], ())


@pytest.mark.parametrize("ends", ["\r\r\r", "\n\r\n", "\r\n\r"])
def test_rows_that_end_at_carriage_returns_are_read_as_ever(ends):
    found = grid("".join(row + end for row, end in zip(("text,label", "a,x", "b,y"), ends, strict=True)))
    assert (fields(found), found.findings) == ([["text", "label"], ["a", "x"], ["b", "y"]], ())


def test_rows_that_all_end_in_empty_fields_lose_them():
    found = grid("text,label\na,x,,\nb,y,, \n")
    assert fields(found)[1:] == [["a", "x"], ["b", "y"]]
    assert said(found) == [("mended", "r.csv: every row ends in ',' with nothing behind it; left out")]


def test_one_row_that_ends_in_an_empty_field_may_be_a_text_without_quotes():
    assert grid("text,label\nnice, but,\nb,y\n").num_faults == 1


def test_rows_may_lack_what_has_no_name():
    assert fields(grid("v1,v2,,\nx,a\ny,b,c\n"))[1:] == [["x", "a", "", ""], ["y", "b", "c", ""]]


def test_what_stands_above_the_header_is_named():
    assert said(grid("Export of Monday\ntext,label\na,x\n")) == [
        (
            "error",
            "r.csv: the first line must name all columns, got 'Export of Monday', while every row has 2 fields; "
            "fix it, or remove the lines above it",
        )
    ]


def test_blank_rows_above_the_header_are_none():
    assert grid("\n,,\ntext,label\na,x\n").rows == [(3, ["text", "label"]), (4, ["a", "x"])]


def test_quotes_that_swallow_lines_of_a_tsv_are_taken_for_what_they_are():
    found = grid('text\tlabel\n"so\tbad\nsaid "it"\tgood\nend"\tbad\n', usual="\t")
    assert fields(found)[1:] == [['"so', "bad"], ['said "it"', "good"], ['end"', "bad"]]


@given(
    st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_quotes_is_read_with_its_lines(rows, delimiter, end):
    rows = [["text", "label"], *([f"t{text}", f"l{label}"] for text, label in rows)]
    written, starts = "", []
    for row in rows:
        starts.append(1 + written.count("\n"))
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=end).writerow(row)
        written += out.getvalue()
    found = grid(written)
    assert (fields(found), lines(found), found.findings) == (rows, starts, ())
