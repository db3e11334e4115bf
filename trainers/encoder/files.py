"""Files of a model directory, looked at before anything of it is loaded: format, code, checksums."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from trainers.encoder.foreign_code import KnownCode, refuse_foreign_code
from trainers.errors import InputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Lists the shards of larger weights, in place of that file."""

SUMS = "SHA256SUMS"
CARD = "README.md"

PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
FINGERPRINTED = {".json", ".txt", ".model", ".safetensors"}
READ_BY_LIBRARIES = {*PICKLED, *FINGERPRINTED, ".jinja", ".py", ".h5", ".msgpack", ".onnx"}
"""Endings of files that may become part of a loaded model; of others, such as a README.md, more may be added."""

NOTES_OF_DOWNLOADS = ".cache/huggingface/"
"""Where ``hf download --local-dir`` keeps its own files, of which nothing is loaded."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")


def check_files(folder: Path, *, what: str, code: KnownCode | None = None) -> None:
    """Check that a model is there as safetensors, whole or in shards, and runs and fetches nothing.

    Args:
        folder: Of the model.
        what: How errors call it.
        code: What it may bring; None allows nothing.

    Raises:
        InputError: A file is missing, the weights are a pickle, or transformers would run or fetch something.
    """
    if not (folder / "config.json").is_file():
        raise _missing("config.json", folder, what)
    if not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLED)
        if pickled:
            raise InputError(
                f"{what} must hold {WEIGHTS}, but {folder} has only {pickled[0]}, a pickle, which may run any code "
                "when it is read; take the model as safetensors, or, if you trust the file, load it with transformers "
                "yourself and save_pretrained it"
            )
        raise _missing(WEIGHTS, folder, what)
    refuse_foreign_code(folder, what=what, code=code)
    for path in weight_files(folder, what=what):
        if not path.is_file():
            raise InputError(
                f"{what} must hold {path.name}, listed in {folder / INDEX}, and does not; fetch or save it again"
            )


def weights_of(folder: Path) -> Path:
    """Return the file by which a model's weights are read: the one that holds them, or the list of their shards."""
    whole = folder / WEIGHTS
    return whole if whole.is_file() or not (folder / INDEX).is_file() else folder / INDEX


def weight_files(folder: Path, *, what: str) -> list[Path]:
    """Return the files that hold a model's weights: one, or the shards that their list names.

    Raises:
        InputError: The list is damaged, or names files elsewhere.
    """
    index = weights_of(folder)
    if index.name == WEIGHTS:
        return [index]
    try:
        named = json.loads(index.read_bytes())["weight_map"].values()
        shards = sorted({str(name) for name in named})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{what}: {index} must list the shards of its weights, got: {type(error).__name__}; fetch or save it again"
        ) from error
    for name in shards:
        if not _SHARD.fullmatch(name):
            raise InputError(
                f"{what}: {index} must name shards beside it, such as model-00001-of-00002.safetensors, got {name[:80]!r}; "
                "fetch or save it again"
            )
    return [folder / name for name in shards]


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
        if path.suffix in READ_BY_LIBRARIES
        and (name := path.relative_to(folder).as_posix()) not in listed
        and not name.startswith(NOTES_OF_DOWNLOADS)
    )
    if added:
        raise InputError(f"{what}: {folder / added[0]} was added after it was saved; remove the file")


def _missing(name: str, folder: Path, what: str) -> InputError:
    return InputError(
        f"{what} must hold {name}, but {folder} has none; save the model there with save_pretrained (safetensors; "
        "pickled weights are not read)"
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
