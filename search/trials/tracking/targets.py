"""What --track may be given: which tracker, and where it keeps its runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from cyclopts import Parameter

from trainers.errors import InputError, nearest

PLACES = {
    "mlflow": "the URL of a server, or a folder",
    "tensorboard": "a folder",
    "trackio": None,
    "wandb": None,
}
"""What may stand behind the name of each tracker."""

TrackOption = Annotated[
    list[str] | None,
    Parameter(
        negative=(),
        metavar="NAME[=PLACE]",
        help="Also show trials in mlflow[=URL or folder], tensorboard[=folder], trackio or wandb; may be given several "
        "times. [default: none]",
    ),
]

MODEL_KEEPERS = ("mlflow", "trackio", "wandb")
"""Trackers that keep models, too."""

ModelTrackOption = Annotated[
    list[str] | None,
    Parameter(
        negative=(),
        metavar="NAME[=PLACE]",
        help="Also keep the model in mlflow[=URL or folder], trackio or wandb, with the run of its trial; may be given several "
        "times. [default: none]",
    ),
]

ELSEWHERE = {
    "trackio": "its environment variable TRACKIO_DIR says where",
    "wandb": "its environment variables say where: WANDB_DIR, WANDB_ENTITY, WANDB_BASE_URL",
}


class Target(NamedTuple):
    """A tracker.

    Attributes:
        name: Of its package.
        place: Where its runs are kept, a URL or an absolute folder; None is the tracker's own choice.
    """

    name: str
    place: str | None = None

    def __str__(self) -> str:
        """As the user gave it."""
        return self.name if self.place is None else f"{self.name}={self.place}"


def targets_of(given: Iterable[str]) -> tuple[Target, ...]:
    """Return what was given, each once.

    Args:
        given: ``mlflow=http://127.0.0.1:5000``, ``wandb``.

    Raises:
        InputError: Something of it cannot be used.
    """
    found, mistakes = dict[Target, None](), []
    for text in given:
        try:
            found[_target(text)] = None
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("; ".join(mistakes))
    return tuple(found)


def model_targets_of(given: Iterable[str]) -> tuple[Target, ...]:
    """Return, as ``targets_of``, trackers that keep models.

    Raises:
        InputError: As ``targets_of``, or one keeps none.
    """
    targets = targets_of(given)
    without = [target.name for target in targets if target.name not in MODEL_KEEPERS]
    if without:
        raise InputError(
            f"--track must be {', '.join(MODEL_KEEPERS)} for an export, got {without[0]}, which keeps no models; leave it out"
        )
    return targets


def _target(text: str) -> Target:
    name, has_place, place = text.partition("=")
    if name not in PLACES:
        raise InputError(f"--track must be {', '.join(PLACES)}, got {name!r}{nearest(name, PLACES)}")
    if has_place and PLACES[name] is None:
        raise InputError(f"--track {name} takes no place, got {place!r}; {ELSEWHERE[name]}")
    if has_place and not place.strip():
        raise InputError(f"--track {name}= needs {PLACES[name]}; name it, or leave out the =")
    try:
        version(name)
    except PackageNotFoundError:
        raise InputError(
            f"--track {name} needs the package {name}; install it: pip install 'frostline[{name}]'"
        ) from None
    if name == "trackio" and os.environ.get("TRACKIO_SPACE_ID"):
        raise InputError(
            "--track trackio keeps runs on this machine, but TRACKIO_SPACE_ID names a Space; unset it, and send the project with "
            "trackio sync"
        )
    if not has_place:
        return Target(name)
    if "://" in place:
        return Target(name, _checked_url(name, place))
    if Path(place).exists() and not Path(place).is_dir():
        raise InputError(f"--track {name}= must be {PLACES[name]}, got the file {place}; give another")
    return Target(name, str(Path(place).absolute()))


def _checked_url(name: str, place: str) -> str:
    if name != "mlflow":
        raise InputError(f"--track {name}= must be {PLACES[name]}, got a URL; give a folder")
    try:
        parts = urlsplit(place)
    except ValueError as error:
        raise InputError(f"--track mlflow= must be a URL, got {place!r}: {error}") from None
    if parts.password is not None:
        raise InputError(
            "--track must hold no password, since the process list shows it to every user of this machine; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole URL in MLFLOW_TRACKING_URI and give --track mlflow"
        )
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InputError(
            f"--track mlflow= takes a server, http://HOST:PORT, or a folder, got {place!r}; set any other store in "
            "MLFLOW_TRACKING_URI and give --track mlflow"
        )
    return place
