"""The tables that a source holds: a file, a directory saved by ``datasets``, or a data set of the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainers.config import FILE_SUFFIXES, DataConfig
from trainers.data.columns import SPLIT_NAMES, with_header
from trainers.data.findings import Finding
from trainers.data.tables import Table, check_text, read_csv, read_jsonl
from trainers.data.typed import from_dataset, read_parquet
from trainers.errors import InputError
from trainers.formats import by_suffix

if TYPE_CHECKING:
    import datasets

SplitName = Literal["train", "validation", "test"]

HUB_TIMEOUT_SECONDS = 10


def read_tables(config: DataConfig) -> list[tuple[SplitName | None, Table]]:
    """Read every table of a source, each with the split that it is, its columns numbered where its first line names none.

    Raises:
        InputError: One cannot be read.
    """
    tables = _tables(config)
    first = with_header(tables[0][1], config)
    no_header = first is not tables[0][1]
    further = [(split, with_header(table, config, others_have_none=no_header)) for split, table in tables[1:]]
    return [(tables[0][0], first), *further]


def _tables(config: DataConfig) -> list[tuple[SplitName | None, Table]]:
    """Read every table of a source, each with the split that it is."""
    path = Path(config.source)
    if config.is_hub_id:
        tables = _splits_of(_fetch(config), config.source, config)
    elif path.is_dir():
        tables = _splits_of(_load_saved(path), path.name, config)
    else:
        tables = [(None, _read_file(path, config))]
    further: tuple[tuple[SplitName, str | None], ...] = (
        ("validation", config.validation_source),
        ("test", config.test_source),
    )
    for split, file in further:
        if file is not None:
            if any(given == split for given, _ in tables):
                raise InputError(
                    f"data.{split}_source and the {split} split of {config.source!r} exclude each other, got both; "
                    f"leave data.{split}_source out"
                )
            tables.append((split, _read_file(Path(file), config)))
    return tables


def _read_file(path: Path, config: DataConfig) -> Table:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"no file {path}; a path in a TOML file is relative to that file; fix the path")
    if suffix in {".csv", ".tsv", ".jsonl"}:
        check_text(path)
    if suffix in {".csv", ".tsv"}:
        return read_csv(path)
    if suffix == ".jsonl":
        return read_jsonl(path)
    if suffix == ".parquet":
        return read_parquet(path, config)
    raise InputError(f"a file of texts must end in {', '.join(FILE_SUFFIXES)}, got {path}, {by_suffix(path)}")


def _load_saved(path: Path) -> datasets.Dataset | datasets.DatasetDict:
    import datasets

    try:
        return datasets.load_from_disk(path)
    except Exception as error:  # a torn directory ends in any of a dozen kinds
        inside = sorted(entry.name for entry in path.iterdir())
        reason = f"{_first_line(error)} It holds {', '.join(inside[:3]) or 'nothing'}"
        raise InputError(
            f"{path} must be a directory written by datasets' save_to_disk, got: {reason}; save it again, "
            "or give a file"
        ) from error


def _fetch(config: DataConfig) -> datasets.Dataset | datasets.DatasetDict:
    """Fetch a data set of the hub, or take it as fetched earlier in offline mode; no code of its own runs."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    revision = config.revision
    what = f"data.source = {config.source!r}"
    try:
        # Asked first: load_dataset would try an unreachable hub for minutes.
        revision = HfApi().dataset_info(config.source, revision=revision, timeout=HUB_TIMEOUT_SECONDS).sha
    except OfflineModeIsEnabled:
        pass  # what was fetched earlier is taken, at the revision that was asked for
    except (HFValidationError, HfHubHTTPError) as error:
        raise InputError(
            f"{what} is no file, no directory, and the hub does not give it: {_first_line(error)}; fix the path, "
            "or the id, subset and revision"
        ) from error
    except Exception as error:  # a name that is not resolved, a time-out, a proxy's refusal
        raise InputError(
            f"{what} is no file and no directory here, and the hub cannot be reached: {_first_line(error)}; fix the "
            "path, connect, or set HF_HUB_OFFLINE=1 to take what was fetched earlier"
        ) from error
    try:
        return datasets.load_dataset(config.source, config.subset, revision=revision)
    except Exception as error:  # the hub client raises some twenty kinds, its transports more
        raise InputError(
            f"{what} cannot be loaded: {_first_line(error)}; fix data.subset and data.revision, or fetch it once "
            "while connected"
        ) from error


def _splits_of(
    content: datasets.Dataset | datasets.DatasetDict, name: str, config: DataConfig
) -> list[tuple[SplitName | None, Table]]:
    """Return the splits that a data set gives; a single one is to be split."""
    if not isinstance(content, dict):
        return [(None, from_dataset(content, name, config))]
    if len(content) == 1:
        (part,) = content.values()
        return [(None, from_dataset(part, name, config))]
    known = {SPLIT_NAMES[key.lower()]: key for key in content if key.lower() in SPLIT_NAMES}
    if "train" not in known:
        raise InputError(f"{name} must have a split 'train', got {', '.join(map(repr, content))}; rename one")
    order: tuple[SplitName, ...] = ("train", "validation", "test")
    tables: list[tuple[SplitName | None, Table]] = [
        (split, from_dataset(content[known[split]], f"{name} {known[split]}", config))
        for split in order
        if split in known
    ]
    unused = sorted(set(content) - set(known.values()))
    if unused:
        message = (
            f"splits {', '.join(map(repr, unused))} are neither training, validation nor test, and not read"
        )
        split, table = tables[0]
        note = Finding("unused splits", message, "warning", name)
        tables[0] = split, replace(table, findings=(*table.findings, note))
    return tables


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
