import io
import sys

import pytest

from trainers.model.classifier import load
from trainers.predict import main

TEXTS = ["the film was good", "a dull story"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model


@pytest.fixture
def expected(model):
    """The lines that the texts are answered with."""
    pairs = zip(TEXTS, load(model).predict(TEXTS), strict=True)
    return "".join(f"{p.label}\t{p.probability:.4f}\t{text}\n" for text, p in pairs)


def test_texts_are_arguments(model, expected, capsys):
    assert main([str(model), *TEXTS]) == 0
    assert capsys.readouterr().out == expected


def test_texts_that_arrive_as_escaped_bytes_are_read_as_utf8(model, capsys):
    assert main([str(model), "the f\udcc3\udcaeln was good"]) == 0
    assert capsys.readouterr().out.endswith("\tthe f\u00eeln was good\n")


@pytest.fixture
def typed(monkeypatch):
    """A function: let standard input hold these bytes."""

    def typed(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))

    return typed


def test_texts_are_lines_of_a_file(model, expected, capsys, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(f"{TEXTS[0]}\r\n  {TEXTS[1]}  \r\n".encode())
    assert main([str(model), "--file", str(path)]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("flags", [[], ["--file", "-"]])
def test_texts_are_lines_of_standard_input(model, expected, capsys, typed, flags):
    typed("\n".join(TEXTS).encode())
    assert main([str(model), *flags]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\r"])
def test_a_line_ends_at_a_line_feed_alone(model, capsys, typed, mark):
    typed(f"good{mark}film\nbad film\n".encode())
    assert main([str(model)]) == 0
    both = capsys.readouterr().out.splitlines()
    assert len(both) == 2
    assert main([str(model), f"good{mark}film"]) == 0
    assert capsys.readouterr().out.splitlines() == both[:1]


def test_line_n_answers_line_n(model, capsys, typed):
    typed(b"\ngood film\n \t\n<br />\n\nbad film\n\n")
    assert main([str(model)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert [line.split("\t")[-1] for line in lines] == ["", "good film", "", "<br />", "", "bad film", "", ""]
    assert [bool(line.split("\t")[0]) for line in lines] == [
        False,
        True,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
    assert [line.count("\t") for line in lines] == [2] * 7 + [0]


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8-sig", ""),
        ("utf-16", ""),
        (
            "latin-1",
            "fixed: standard input, line 1: not UTF-8: read as Windows-1252 (latin-1); save the file as UTF-8 if letters look wrong\n",
        ),
    ],
)
def test_lines_are_read_in_the_encodings_of_training(model, capsys, typed, encoding, told):
    typed("sch\xf6n\n".encode(encoding))
    assert main([str(model)]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("\tsch\xf6n\n")
    assert captured.err == told


def test_rows_of_a_table_come_back_with_their_predictions(model, capsys, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"id,review\n1,{TEXTS[0]}\n2,<br>\n3,{TEXTS[1]}\n")
    assert main([str(model), "--file", str(path), "--column", "review"]) == 0
    first, second = load(model).predict(TEXTS)
    printed = capsys.readouterr().out
    assert printed == (
        "id,review,prediction,probability\n"
        f"1,{TEXTS[0]},{first.label},{round(first.probability, 4)}\n"
        "2,<br>,,\n"
        f"3,{TEXTS[1]},{second.label},{round(second.probability, 4)}\n"
    )
    assert (
        main([str(model), "--file", str(path), "--column", "review", "--out", str(tmp_path / "o.csv")]) == 0
    )
    assert capsys.readouterr().out == ""
    assert (tmp_path / "o.csv").read_text() == printed


def test_a_terminal_is_told_no_control_characters_of_a_table(model, capsys, tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("id,review\n\x1b[31m,good film\n")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    assert main([str(model), "--file", str(path), "--column", "review"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("\\x1b[31m,good film,")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--column", "a"], "--column needs --file, the table that has it, got --column a; give both"),
        (
            ["--file", "-", "--column", "a"],
            "--column needs --file, the table that has it, got --column a; give both",
        ),
        (["good", "--out", "o.csv"], "--out needs --column, got --out o.csv alone; add it, or use > o.csv"),
        (
            ["--file", "t.parquet"],
            "t.parquet holds columns, not lines; name the one of the texts with --column",
        ),
    ],
)
def test_flags_that_do_not_fit_are_exit_code_2(model, capsys, flags, message):
    assert main([str(model), *flags]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_table_that_is_read_by_lines_is_noted(model, capsys, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text\ngood\n")
    assert main([str(model), "--file", str(path)]) == 0
    assert (
        capsys.readouterr().err
        == f"note: {path} is read as one text a line; --column NAME reads a column of it\n"
    )


def test_a_text_that_begins_with_a_hyphen_stands_behind_two(model, capsys):
    assert main([str(model), "--", "-5 stars", "--awful"]) == 0
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == ["-5 stars", "--awful"]


def test_texts_and_a_file_exclude_each_other(model, capsys):
    assert main([str(model), "good", "--file", "texts.txt"]) == 2
    assert capsys.readouterr().err == (
        "error: texts and --file exclude each other, got 1 texts and texts.txt; give one\n"
    )


def test_no_text_at_all_is_exit_code_2(model, capsys, typed):
    typed(b" \n")
    assert main([str(model)]) == 2
    assert capsys.readouterr().err == (
        "error: no text to classify; give texts, --file, or lines on standard input\n"
    )


def test_a_missing_file_is_exit_code_2(model, capsys, tmp_path):
    path = tmp_path / "none.txt"
    assert main([str(model), "--file", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {path} cannot be read: No such file or directory; check path and permissions\n"
    )


def test_a_missing_model_is_exit_code_2(capsys, tmp_path):
    assert main([str(tmp_path / "none"), "good"]) == 2
    assert capsys.readouterr().err == (
        f"error: no model directory {tmp_path / 'none'}; export one with: python -m search.export\n"
    )


def test_a_text_of_several_lines_stays_one_line_of_output(model, capsys):
    assert main([str(model), "good\nfilm\tindeed"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
