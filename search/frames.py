"""Texts in memory -> a file of the same content, which a study can name."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import CONTROL, InputError, printable
from trainers.files import write_atomically

if TYPE_CHECKING:
    import pyarrow

FOLDER = "texts"
"""Beside the studies' TOML files."""


def stored(data: Any, folder: Path, *, columns: Iterable[str]) -> tuple[str, int]:
    """Write what is in memory to a Parquet file that is named after its SHA-256; returns its path from the folder, and its rows.

    Args:
        data: DataFrame of pandas or polars, ``Dataset`` or ``DatasetDict``, a dictionary of columns, or texts and labels.
        folder: Of the studies.
        columns: That are needed; none takes all.

    Raises:
        InputError: It is none of these, or its columns cannot be stored.
    """
    import pyarrow
    from pyarrow import parquet

    columns = list(dict.fromkeys(columns))
    try:
        table = _checked(_table(data, columns))
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = printable(next(iter(str(error).splitlines()), type(error).__name__))
        raise InputError(
            f"each column of the data must hold values of one kind, got: {reason}; write them as texts, or leave the "
            "column out"
        ) from error
    path = folder / FOLDER / f"{_sha256(table)}.parquet"
    if not path.is_file():
        content = io.BytesIO()
        parquet.write_table(table, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder {path.parent} must be writable, got: {error.strerror}; change its permissions, or give "
                "another folder"
            ) from error
        write_atomically(path, content.getvalue())
    return f"{FOLDER}/{path.name}", table.num_rows


def _table(data: Any, columns: list[str]) -> pyarrow.Table:
    import pyarrow

    polars, datasets = sys.modules.get("polars"), sys.modules.get("datasets")  # who has one has imported it
    if polars and isinstance(data, polars.LazyFrame):
        raise InputError("data must be in memory, got a polars LazyFrame; call .collect() first")
    if polars and isinstance(data, polars.DataFrame):
        return _chosen(data.columns, columns, lambda names: data.select(names).to_arrow())
    if datasets and isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise InputError(f"data must be in memory, got an {type(data).__name__}; load it without streaming")
    if datasets and isinstance(data, datasets.Dataset | datasets.DatasetDict):
        return _of_dataset(data, columns)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        import pandas as pd

        names = [str(name) for name in data.columns]

        def take(chosen: list[str]) -> pyarrow.Table:
            frame = data.iloc[:, [names.index(name) for name in chosen]].set_axis(chosen, axis=1)
            assert isinstance(frame, pd.DataFrame)  # noqa: S101
            return pyarrow.Table.from_pandas(frame, preserve_index=False)

        return _chosen(names, columns, take)
    if isinstance(data, tuple) and len(data) == 2:
        data = {"text": data[0], "label": data[1]}
    if isinstance(data, dict):
        if any(isinstance(values, str | bytes) for values in data.values()):
            raise InputError("each column must be a list, got one text; put it in a list")
        lists = {str(name): list(values) for name, values in data.items()}
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{printable(name)!r} {length}" for name, length in lengths.items())
            raise InputError(f"all lists must be of one length, got {told}; give each text its label")
        return _chosen(
            list(lists), columns, lambda names: pyarrow.table({n: _plain(lists[n]) for n in names})
        )
    raise InputError(
        "data must be a pandas or polars DataFrame, a Dataset or DatasetDict, a dictionary of lists, a pair (texts, labels), "
        f"or a path, got {type(data).__name__}; convert it"
    )


def _plain(values: list[Any]) -> list[Any]:
    """Return numbers of NumPy as Python's."""
    return [
        value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
        for value in values
    ]


def _of_dataset(data: Any, columns: list[str]) -> pyarrow.Table:
    """Join the splits; who is in which is told by a column ``split``."""
    import datasets
    import pyarrow

    parts = dict(data) if isinstance(data, dict) else {"": data}
    tables = []
    for split, part in parts.items():
        known = {name for name, kind in part.features.items() if isinstance(kind, datasets.ClassLabel)}

        def take(names: list[str], part: Any = part, known: set[str] = known) -> pyarrow.Table:
            table = part.select_columns(names).with_format("arrow")[:]
            for name in known & set(names):
                words = [
                    None if v is None or v < 0 else part.features[name].names[v]
                    for v in table[name].to_pylist()
                ]
                table = table.set_column(
                    table.column_names.index(name), name, pyarrow.array(words, pyarrow.string())
                )
            return table.replace_schema_metadata(None)

        table = _chosen(part.column_names, [c for c in columns if len(parts) == 1 or c != "split"], take)
        if len(parts) > 1:
            if "split" in table.column_names:
                raise InputError("a DatasetDict must have no column 'split', which its splits are; rename it")
            table = table.append_column("split", pyarrow.array([split] * table.num_rows, pyarrow.string()))
        tables.append(table)
    return pyarrow.concat_tables(tables, promote_options="permissive")


def _chosen(names: list[str], columns: list[str], take: Any) -> pyarrow.Table:
    wanted = columns or names
    for name in wanted:
        if name not in names:
            present = ", ".join(repr(printable(n)) for n in names[:10])
            raise InputError(f"data must have a column {name!r}, got {present or 'none'}; name another")
    twice = [name for name in dict.fromkeys(wanted) if names.count(name) > 1]
    if twice:
        raise InputError(
            f"columns must have different names, got {', '.join(map(repr, twice))} more than once; rename them"
        )
    hostile = [name for name in wanted if CONTROL.search(name)]
    if hostile:
        raise InputError(f"names of columns must hold no control characters, got {hostile[0]!r}; rename it")
    return take(wanted)


def _checked(table: pyarrow.Table) -> pyarrow.Table:
    if not table.num_rows:
        raise InputError("data must have rows, got none; add them")
    return table.replace_schema_metadata(None).combine_chunks()


def _sha256(table: pyarrow.Table) -> str:
    """Return a digest of names and values; how they are laid out in memory does not matter."""
    total = hashlib.sha256()
    for name in table.column_names:
        for value in (name, *table[name].to_pylist()):
            content = repr(value).encode()
            total.update(len(content).to_bytes(8, "little"))
            total.update(content)
    return total.hexdigest()
