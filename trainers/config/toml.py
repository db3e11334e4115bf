"""A configuration as a TOML file: read, checked, written."""

from __future__ import annotations

import codecs
import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainers.config.fit import TrainConfig
from trainers.config.table import table_keys
from trainers.errors import CONTROL, InputError, describe

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: The file is missing, unreadable or not TOML, or holds control characters.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except FileNotFoundError:
        raise InputError(f"no file {path}; give the path of an existing TOML file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check path and permissions") from error
    except UnicodeDecodeError as error:
        utf_16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        line = error.object.count(b"\n", 0, error.start) + 1
        got = "UTF-16" if utf_16 else f"byte {error.object[error.start]:#x} in line {line}"
        raise InputError(f"{path} must be UTF-8, as every TOML file, got {got}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}; fix that line") from error
    for text in _texts(table):
        if CONTROL.search(text):
            raise InputError(f"{path}: a text must hold no control characters, got {text!r}; remove them")
    return table


def load_config(path: Path) -> TrainConfig:
    """Read a complete fit configuration, such as an exported ``winner.toml``.

    Raises:
        InputError: Every mistake in the file, in one message.
    """
    table = read_toml(path)
    if isinstance(table.get("fit"), dict):
        raise InputError(
            f"{path} must be the configuration of one fit, such as a winner.toml, got a study; search it: "
            f"python -m search.run --study {shlex.quote(str(path))}"
        )
    data = table.get("data")
    if isinstance(data, dict) and "fingerprint" in data:
        data.setdefault("clean", "0.1")  # exported before there was this key
    try:
        return TrainConfig.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, valid_keys=_keys_of_table)}") from error


def as_toml(config: TrainConfig) -> str:
    """Write a complete configuration as the text of a TOML file."""
    return _toml(config.model_dump(mode="json", exclude_none=True))


def _toml(table: dict[str, Any]) -> str:
    """Write scalars, then tables of scalars; their JSON forms are valid TOML."""
    scalars = [
        f"{_key(k)} = {json.dumps(v, ensure_ascii=False)}\n"
        for k, v in table.items()
        if not isinstance(v, dict)
    ]
    tables = [f"\n[{k}]\n{_toml(v)}" for k, v in table.items() if isinstance(v, dict)]
    return "".join([*scalars, *tables])


def _key(name: str) -> str:
    """Write a key, in quotes unless TOML takes it bare: a class may have any name."""
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _texts(value: Any) -> Iterator[str]:
    """Yield every key and every text of a TOML table."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _keys_of_table(path: tuple[str, ...]) -> Iterable[str]:
    return table_keys(TrainConfig, path)
