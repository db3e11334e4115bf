"""Files of a model directory, looked at before anything of it is loaded: format, code, checksums."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import InputError

WEIGHTS = "model.safetensors"
SUMS = "SHA256SUMS"
CARD = "README.md"

PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
FINGERPRINTED = {".json", ".txt", ".model", ".safetensors"}
READ_BY_LIBRARIES = {*PICKLED, *FINGERPRINTED, ".jinja", ".py", ".h5", ".msgpack", ".onnx"}
"""Endings of files that may become part of a loaded model; of others, such as a README.md, more may be added."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True)
class KnownCode:
    """The one file of code of which a model's folder may hold a copy, and its configuration name classes.

    Such a copy is never run here.

    Attributes:
        name: Of the file.
        sha256: Of its contents, in all the versions that are known.
    """

    name: str
    sha256: frozenset[str]

    @property
    def module(self) -> str:
        """By which configurations name its classes."""
        return Path(self.name).stem


def check_files(folder: Path, *, what: str, code: KnownCode | None = None) -> None:
    """Check that a model is there as safetensors and brings no code, but for a copy of a file that is known.

    Args:
        folder: Of the model.
        what: How errors call it.
        code: What it may bring; None allows nothing.

    Raises:
        InputError: A file is missing, the weights are a pickle, or transformers is told to run code.
    """
    for required in ("config.json", WEIGHTS):
        if (folder / required).is_file():
            continue
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLED)
        if required == WEIGHTS and pickled:
            raise InputError(
                f"{what} must hold {WEIGHTS}, but {folder} has only {pickled[0]}, a pickle, which may run any code "
                "when it is read; take the model as safetensors, or, if you trust the file, load it with transformers "
                "yourself and save_pretrained it"
            )
        raise InputError(
            f"{what} must hold {required}, but {folder} has none; save the model there with "
            "save_pretrained (safetensors; pickled weights are not read)"
        )
    for name in ("config.json", "tokenizer_config.json"):
        if any(not _names_classes_of(code, entry) for entry in _code_named_by(folder / name)):
            raise InputError(
                f"{what} must bring no code of its own, but {folder / name} has auto_map, which names some; take a "
                "model that transformers knows by itself"
            )
    if code is not None:
        for path in sorted(folder.rglob("*.py")):
            if path.name != code.name or sha256_of(path) not in code.sha256:
                raise InputError(
                    f"{what} must bring no code of its own, but {path} is not the {code.name} of this version of "
                    "Frostline or of an earlier one; export the model again, or load it with the version that saved it"
                )


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that make up an encoder: weights, configuration and tokenizer, by name."""
    return {p.name: sha256_of(p) for p in sorted(folder.iterdir()) if p.suffix in FINGERPRINTED}


def fingerprint(sums: dict[str, str]) -> str:
    """Return one SHA-256 over ``digests``."""
    total = hashlib.sha256()
    for name, sha256 in sorted(sums.items()):
        total.update(f"{name}\0".encode() + bytes.fromhex(sha256))
    return total.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """List all files of a directory with their SHA-256, as ``sha256sum`` does and ``sha256sum -c`` reads."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names if name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def verify_checksums(folder: Path, *, what: str) -> None:
    """Check that the files of a directory are those that were listed when it was written.

    That nobody altered both the files and the list is not shown by this.

    Args:
        folder: With ``SHA256SUMS`` in it.
        what: How errors call the model.

    Raises:
        InputError: A file is altered or missing, one that a library would read was added, or there is no list.
    """
    listed = _listed(folder, what)
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise InputError(
                f"{what} must hold {name}, listed in {folder / SUMS}, and does not; copy it again"
            )
        if name != CARD and sha256_of(path) != expected:  # a card is there to be edited
            raise InputError(
                f"{what}: {path} is not as it was saved, its SHA-256 differs from that in {SUMS}; copy or export it "
                "again"
            )
    added = sorted(
        name
        for path in folder.rglob("*")
        if path.suffix in READ_BY_LIBRARIES and (name := path.relative_to(folder).as_posix()) not in listed
    )
    if added:
        raise InputError(f"{what}: {folder / added[0]} was added after it was saved; remove the file")


def _code_named_by(path: Path) -> list[Any]:
    """Return what stands in a JSON file under any ``auto_map``; nothing of a file that is missing or damaged."""
    found: list[Any] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.extend(value for key, value in pairs if key == "auto_map")
        return dict(pairs)

    try:
        json.loads(path.read_bytes(), object_pairs_hook=look)
    except (OSError, ValueError, RecursionError):
        return []  # loading it will say what is wrong
    return found


def _names_classes_of(code: KnownCode | None, auto_map: Any) -> bool:
    """Tell whether an ``auto_map`` names classes of that one file beside it alone, and none of another repository."""
    return (
        code is not None
        and isinstance(auto_map, dict)
        and all(isinstance(v, str) and re.fullmatch(rf"{code.module}\.\w+", v) for v in auto_map.values())
    )


def _listed(folder: Path, what: str) -> dict[str, str]:
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"{what} must hold {SUMS}, but {folder} has none; export it again, or, if you know the files to be "
            f"sound, list them there: sha256sum * > {SUMS}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what}: {path} cannot be read: {error}; copy or export it again") from error
    listed = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None or Path(found[2]).is_absolute() or ".." in Path(found[2]).parts:
            raise InputError(
                f"{what}: a line of {path} must be a SHA-256 and the name of a file beside it, got {line[:80]!r}; "
                "copy or export it again"
            )
        listed[found[2]] = found[1]
    return listed
