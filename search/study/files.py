"""Which TOML file ``--study`` means: a path, a name in ``studies/``, or a study that comes with the package."""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from search.study.spec import checked_name
from trainers.errors import InputError, nearest
from trainers.files import write_atomically


def find_study(study: str, *, create: bool = False) -> Path:
    """Turn what ``--study`` was given, a TOML file or a name in ``studies/``, into the path of a TOML file.

    Args:
        study: What was given.
        create: Whether a study that comes with the package is copied to ``studies/`` if it is not there.

    Raises:
        InputError: There is no such study, or its copy cannot be written.
    """
    path = Path(study)
    if path.suffix == ".toml":
        if not os.path.isfile(path):  # noqa: PTH113 - pathlib raises where a name is too long
            raise InputError(f"no study file {path}; give an existing TOML file or a name from studies/")
        return path
    try:
        named = Path("studies") / f"{checked_name(study)}.toml"
    except ValueError as error:
        raise InputError(f"--study: {error}, or give the path of a TOML file") from None
    if named.is_file():
        return named
    packaged = packaged_studies()
    if study in packaged and create:
        write_atomically(named, packaged[study].read_bytes())
        return named
    if study in packaged:
        raise InputError(f"study {study!r} has no trials yet; run: python -m search.run --study {study}")
    present = sorted({*packaged, *(p.stem for p in Path("studies").glob("*.toml"))})
    raise InputError(
        f"no study {study!r} in studies/{nearest(study, present)}; give one of {', '.join(present)}, or the path of a "
        "TOML file"
    )


def packaged_studies() -> dict[str, Traversable]:
    """Return the TOML files of studies that come with the package, by name."""
    found = (f for f in files("search").joinpath("studies").iterdir() if f.name.endswith(".toml"))
    return {f.name.removesuffix(".toml"): f for f in sorted(found, key=lambda f: f.name)}
