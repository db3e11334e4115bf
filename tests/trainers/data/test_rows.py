import csv
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainers.data.rows import check_out, read_rows, write_rows
from trainers.data.tables import read_csv
from trainers.errors import InputError

ANSWERS = [("good", 0.75), (None, None), ("bad", 0.5)]
TEXTS = ["one, two", "", "three\nfour"]


def refusal(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture(params=[".csv", ".tsv", ".jsonl", "array.jsonl", ".parquet"])
def table(request, tmp_path):
    """A file of three rows in each of the formats."""
    path = tmp_path / f"table{request.param}"
    numbers = ["1.50", "007", ""]
    rows = [{"id": n, "text": t} for n, t in zip(numbers, TEXTS, strict=True)]
    if request.param == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif request.param == "array.jsonl":
        path.write_text(json.dumps(rows, indent=1))
    elif request.param == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if request.param == ".tsv" else ","
            csv.writer(file, delimiter=delimiter).writerows([["id", "text"], *(r.values() for r in rows)])
    return path


def test_every_row_of_every_format_comes_back_with_its_answer(table):
    rows = read_rows(table, "text")
    assert rows.texts == TEXTS
    printed = write_rows(rows, ANSWERS, None)
    if table.suffix in {".csv", ".tsv"}:
        delimiter = "\t" if table.suffix == ".tsv" else ","
        back = list(csv.DictReader(io.StringIO(printed, newline=""), delimiter=delimiter))
        expected = [("good", "0.75"), ("", ""), ("bad", "0.5")]
    else:
        back, expected = [json.loads(line) for line in printed.splitlines()], ANSWERS
    assert [(row["id"], row["text"]) for row in back] == list(zip(["1.50", "007", ""], TEXTS, strict=True))
    assert [(row["prediction"], row["probability"]) for row in back] == expected


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_what_was_written_to_a_file_is_read_again(table, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    assert write_rows(read_rows(table, "text"), ANSWERS, out) == ""
    if suffix == ".jsonl":
        back = [json.loads(line) for line in out.read_text().splitlines()]
        assert [(row["text"], row["prediction"]) for row in back] == list(
            zip(TEXTS, ["good", None, "bad"], strict=True)
        )
    else:
        back = read_csv(out).columns
        assert (back["text"], back["prediction"]) == (TEXTS, ["good", "", "bad"])


def test_a_parquet_file_keeps_the_types_of_its_columns(tmp_path):
    content = pa.table(
        {
            "text": TEXTS,
            "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
            "time": pa.array([0] * 3, pa.timestamp("s")),
            "bytes": [b"\xff"] * 3,
        }
    )
    parquet.write_table(content, tmp_path / "in.parquet")
    write_rows(read_rows(tmp_path / "in.parquet", "text"), ANSWERS, tmp_path / "out.parquet")
    back = parquet.read_table(tmp_path / "out.parquet")
    assert back.select(content.column_names).equals(parquet.read_table(tmp_path / "in.parquet"))
    assert back["prediction"].to_pylist() == ["good", None, "bad"]
    assert back["probability"].to_pylist() == [0.75, None, 0.5]


def test_values_of_json_keep_their_types_and_half_characters(tmp_path):
    path = tmp_path / "r.jsonl"
    content = {
        "text": 5,
        "n": 1.5,
        "big": 12345678901234567890,
        "tags": ["a", None],
        "s": "\ud800",
        "ok": True,
    }
    path.write_text(json.dumps(content) + "\n")
    rows = read_rows(path, "text")
    assert rows.texts == ["5"]
    assert json.loads(write_rows(rows, ANSWERS[:1], None)) == content | {
        "prediction": "good",
        "probability": 0.75,
    }


def test_rows_of_csv_without_anything_in_them_stay(tmp_path):
    (tmp_path / "r.csv").write_text("id;text\n1;a\n;\n2;b\n")
    assert read_rows(tmp_path / "r.csv", "text").texts == ["a", "", "b"]


def test_encodings_are_those_of_training_and_told(tmp_path):
    (tmp_path / "r.csv").write_bytes("text\nschön\n".encode("latin-1"))
    rows = read_rows(tmp_path / "r.csv", "text")
    assert rows.texts == ["schön"]
    assert [f.kind for f in rows.findings if f.severity == "mended"] == ["encoding"]


@pytest.mark.parametrize("name", ["none.csv", "texts.txt"])
def test_a_file_without_columns_is_refused(tmp_path, name):
    (tmp_path / "texts.txt").write_text("a")
    assert refusal(read_rows, tmp_path / name, "text") == (
        f"--column needs a --file that is there and ends in .csv, .tsv, .jsonl, .parquet, got {tmp_path / name}; fix the "
        "path, or leave --column out for one text a line"
    )


def test_a_column_that_is_not_there_is_named(table):
    assert refusal(read_rows, table, "texts") == (
        f"{table.name}: no column 'texts'; columns are 'id', 'text'; did you mean 'text'?"
    )


def test_rows_that_have_predictions_are_refused(tmp_path):
    (tmp_path / "r.csv").write_text("text,prediction\na,b\n")
    assert refusal(read_rows, tmp_path / "r.csv", "text") == (
        "r.csv: the columns 'prediction' and 'probability' are added, got 'prediction' already; rename them"
    )


def test_a_column_of_lists_is_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": ["a"]}\n{"text": {"b": 1}}\n')
    assert refusal(read_rows, tmp_path / "r.jsonl", "text") == (
        "r.jsonl: column 'text' must hold one text a row, got dict, list; name another"
    )


def test_another_kind_of_output_or_the_input_itself_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.touch()
    assert refusal(check_out, tmp_path / "r.txt", path) == (
        f"--out must end in .csv, .tsv, .jsonl, .parquet, got {tmp_path / 'r.txt'}; rename it"
    )
    assert (
        refusal(check_out, path, path)
        == f"--out must be another file than --file, got {path} for both; rename it"
    )


def test_values_that_parquet_cannot_hold_are_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": "a", "x": 1}\n{"text": "b", "x": "y"}\n')
    message = refusal(
        write_rows, read_rows(tmp_path / "r.jsonl", "text"), ANSWERS[:2], tmp_path / "o.parquet"
    )
    assert message.startswith("r.jsonl cannot be written as Parquet, whose columns have one type each: ")
    assert message.endswith("; let --out end in .jsonl")
