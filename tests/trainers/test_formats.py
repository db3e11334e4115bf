import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainers.formats import by_content, by_suffix


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return file.getvalue()


def as_parquet():
    file = io.BytesIO()
    parquet.write_table(pa.table({"text": ["a"]}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.xlsx", "a spreadsheet; save it as CSV (UTF-8) there"),
        ("a.XLS", "a spreadsheet; save it as CSV (UTF-8) there"),
        ("a.ods", "a spreadsheet; save it as CSV (UTF-8) there"),
        ("a.zip", "a packed file; unpack it"),
        ("a.csv.gz", "a packed file; unpack it"),
        (
            "a.json",
            "JSON, which is read from a file that ends in .jsonl, as an array of objects or one object a line; rename it",
        ),
        ("a.txt", "a file of any kind; rename it to .csv or .tsv if it is a table"),
        ("a", "a file of any kind; rename it to .csv or .tsv if it is a table"),
        ("a.wav", "another; convert it"),
    ],
)
def test_a_name_tells_kind_and_remedy(name, kind):
    assert by_suffix(Path(name)) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zipped("xl/workbook.xml"), "a spreadsheet; save it as CSV (UTF-8) there"),
        (zipped("mimetype", "content.xml"), "a spreadsheet; save it as CSV (UTF-8) there"),
        (zipped("word/document.xml"), "a document; put its texts into the rows of a CSV file"),
        (zipped("reviews.csv"), "a packed file; unpack it"),
        (zipped("reviews.csv")[:20], "a packed file; unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(8), "a spreadsheet; save it as CSV (UTF-8) there"),
        (gzip.compress(b"text,label\n"), "a packed file; unpack it"),
        (as_parquet(), "a Parquet file; rename it to .parquet"),
        (b"", None),
        (b"text,label\nPK,1\n", None),
        ("text,label\n".encode("utf-16"), None),
        ("text,label\n".encode("utf-8-sig"), None),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else str(value),  # archives hold the time
)
def test_a_content_tells_what_its_name_hides(tmp_path, content, kind):
    (tmp_path / "a.csv").write_bytes(content)
    assert by_content(tmp_path / "a.csv") == kind
