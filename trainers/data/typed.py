"""Tables whose columns have types: Parquet files and data sets. Only columns that may hold texts or labels are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.config import DataConfig
from trainers.data.findings import Finding, stop_on_errors
from trainers.data.label_sets import JSON
from trainers.data.tables import Table
from trainers.errors import InputError

if TYPE_CHECKING:
    import datasets
    import pyarrow

NOT_READ = "columns that are not read"
"""Kind of a finding."""


def read_parquet(path: Path, config: DataConfig) -> Table:
    """Read a Parquet file.

    Raises:
        InputError: It is none, it has no rows, or a column that ``config`` names holds neither texts nor numbers.
    """
    findings: list[Finding] = []

    def choose(schema: pyarrow.Schema) -> list[str]:
        kinds = _with_lists(_kinds(schema), schema, config)
        columns, found = _columns_to_read(kinds, path.name, config)
        findings.extend(found)
        return columns

    # Straight from Arrow: load_dataset("parquet") would keep a second copy in its cache, and knows fewer types.
    content = read_arrow(path, choose)
    classes = _classes_by_number(content.schema)
    values = {c: _named(content[c].to_pylist(), classes.get(c)) for c in content.column_names}
    return _numbered(path.name, values, content.num_rows, findings)


def read_arrow(
    path: Path,
    choose: Callable[[pyarrow.Schema], list[str] | None] = lambda _: None,
) -> pyarrow.Table:
    """Read a Parquet file as it is.

    Args:
        path: Of the file.
        choose: Returns the columns to read, of a schema; None reads all.

    Raises:
        InputError: It is none, or two of its columns have the same name.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise InputError(
                    f"{path.name}: columns must have different names, got {', '.join(map(repr, repeated))} more than once; "
                    "rename them"
                )
            return file.read(choose(file.schema_arrow))
    except (OSError, pyarrow.ArrowException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} must be a Parquet file, got: {reason}; write it again") from error


def from_dataset(content: datasets.Dataset, name: str, config: DataConfig) -> Table:
    """Read a data set, or a split of one.

    Raises:
        InputError: As for ``read_parquet``.
    """
    import datasets

    classes = {c: f.names for c, f in content.features.items() if isinstance(f, datasets.ClassLabel)}
    kinds = _kinds(content.features.arrow_schema)
    kinds = _with_lists(kinds, content.features.arrow_schema, config)
    columns, findings = _columns_to_read(kinds, name, config)
    classes |= {
        c: f.feature.names
        for c, f in content.features.items()
        if isinstance(getattr(f, "feature", None), datasets.ClassLabel)
    }
    values = {c: _named(list(content[c]), classes.get(c)) for c in columns}
    return _numbered(name, values, len(content), findings)


def _kinds(schema: pyarrow.Schema) -> dict[str, str | None]:
    """Return by column the name of its type, without what that is made of; None if it is plain."""
    return {
        field.name: None if _is_plain(field.type) else str(field.type).partition("<")[0] for field in schema
    }


def _is_plain(kind: pyarrow.DataType) -> bool:
    """Tell whether a column of this type holds texts, numbers, truth values or nothing."""
    from pyarrow import types

    if types.is_dictionary(kind):  # a pandas category
        kind = kind.value_type
    tests = (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_boolean, types.is_integer, types.is_floating, types.is_null),
    )
    return any(is_one(kind) for is_one in tests)


def _with_lists(
    kinds: dict[str, str | None], schema: pyarrow.Schema, config: DataConfig
) -> dict[str, str | None]:
    """Take columns that hold lists of plain values for plain, where labels are to be read from lists."""
    from pyarrow import types

    if config.label_separator != JSON:
        return kinds
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return {
        field.name: None
        if any(is_one(field.type) for is_one in tests) and _is_plain(field.type.value_type)
        else kinds[field.name]
        for field in schema
    }


def _classes_by_number(schema: pyarrow.Schema) -> dict[str, list[str]]:
    """Return the classes of the columns that ``datasets`` wrote as numbers."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {c: f["names"] for c, f in written.items() if f.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _columns_to_read(
    kinds: Mapping[str, str | None], name: str, config: DataConfig
) -> tuple[list[str], list[Finding]]:
    """Return the columns that may hold texts or labels, and what there is to say of the others.

    Args:
        kinds: As ``_kinds`` gives them.
        name: Of what is read.
        config: May name columns.
    """
    findings = []
    for key in ("text", "label", "split", "group"):
        named = getattr(config, key)
        for column in named if isinstance(named, tuple) else (named,):
            if kinds.get(column):
                message = f"data.{key} = {column!r}: this column must hold one {key} a row, got {kinds[column]}; name another"
                if key == "label" and "list" in str(kinds[column]):
                    message += ', or set data.label_separator = "json" to read several labels a text'
                findings.append(Finding(f"no {key}", message, "error", name))
    stop_on_errors(findings)
    others = [f"{column!r} ({kind})" for column, kind in kinds.items() if kind]
    if others:
        message = f"columns that hold neither text nor numbers are not read: {', '.join(others)}"
        findings.append(Finding(NOT_READ, message, "note", name))
    return [column for column, kind in kinds.items() if kind is None], findings


def _named(values: list[Any], classes: Sequence[str] | None) -> list[Any]:
    """Give classes that are known by number their names; -1 stands for "no label"."""
    if classes is None:
        return values
    return [
        [classes[item] for item in v] if isinstance(v, list) else None if v is None or v < 0 else classes[v]
        for v in values
    ]


def _numbered(name: str, columns: dict[str, list[Any]], num_rows: int, findings: list[Finding]) -> Table:
    if not num_rows:
        raise InputError(f"{name} must have rows, got none; add them")
    return Table(name, columns, list(range(1, num_rows + 1)), "row", tuple(findings))
