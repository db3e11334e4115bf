"""Files that are no tables of texts: what they really are, and what to do with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

SPREADSHEET = "a spreadsheet; save it as CSV (UTF-8) there"
PACKED = "a packed file; unpack it"
ARROW = "an Arrow file; write it as Parquet, or give the directory that datasets saved it in"
OBJECTS = "a file of objects that may run code when it is read; write it as CSV, JSONL or Parquet"
DATABASE = "a database; export its table as CSV"
DOCUMENT = "a document; put its texts into the rows of a CSV file"

_BY_SUFFIX = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), SPREADSHEET),
    **dict.fromkeys((".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar"), PACKED),
    **dict.fromkeys((".arrow", ".feather"), ARROW),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".npy", ".npz"), OBJECTS),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), DATABASE),
    **dict.fromkeys((".doc", ".docx", ".odt", ".pdf", ".rtf", ".html", ".xml"), DOCUMENT),
    **dict.fromkeys(
        (".json", ".ndjson"),
        "JSON, which is read from a file that ends in .jsonl, as an array of objects or one object a line; rename it",
    ),
    **dict.fromkeys(
        ("", ".txt", ".dat", ".data"), "a file of any kind; rename it to .csv or .tsv if it is a table"
    ),
}
_BY_CONTENT = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": SPREADSHEET,  # .xls; .doc begins so, too
    b"\x1f\x8b": PACKED,
    b"\xfd7zXZ\0": PACKED,
    b"\x28\xb5\x2f\xfd": PACKED,
    b"7z\xbc\xaf\x27\x1c": PACKED,
    b"PAR1": "a Parquet file; rename it to .parquet",
    b"ARROW1": ARROW,
    b"SQLite format 3\0": DATABASE,
    b"%PDF-": DOCUMENT,
}


def by_suffix(path: Path) -> str:
    """Say what a file is by its name, and what to do with it."""
    return _BY_SUFFIX.get(path.suffix.lower(), "another; convert it")


def by_content(path: Path) -> str | None:
    """Say what a file that should be text really is, and what to do with it; None if it may be text."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    return next((kind for start, kind in _BY_CONTENT.items() if head.startswith(start)), None)


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError):
        return PACKED
    if any(name.startswith(("xl/", "Index/")) or name == "content.xml" for name in names):
        return SPREADSHEET
    return DOCUMENT if any(name.startswith("word/") for name in names) else PACKED
