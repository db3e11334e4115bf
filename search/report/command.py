"""A study, finished or running -> its report on the terminal and in files: python -m search.report."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from search.storage import StorageOption
from search.terminal import say
from trainers.cli import launch
from trainers.errors import InputError, printable
from trainers.files import write_atomically

if TYPE_CHECKING:
    from optuna.study import Study

    from search.report.models import Summary
    from search.study import StudySpec


def write_report(summary: Summary, path: Path) -> None:
    """Write ``report.json`` in one piece, so that a reader never meets half of it.

    Args:
        summary: What ``summarise`` says of the study.
        path: Of the file.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(path, json.dumps(summary.plain(), indent=2, ensure_ascii=False).encode() + b"\n")


def command_options(study: str, storage: str | None) -> str:
    """Write the options with which another command finds the same study.

    Args:
        study: As the user gave it.
        storage: Likewise; None where the environment gives the URL, as it will to the next command.
    """
    return shlex.join(["--study", study, *([] if storage is None else ["--storage", storage])])


def report(
    *,
    study: Annotated[str, Parameter(help="Name in studies/, or path of a TOML file.")] = "imdb",
    storage: StorageOption = None,
    follow: Annotated[
        int | None,
        Parameter(help="Renew the files every SECONDS seconds while the search runs. [default: once]"),
    ] = None,
) -> int:
    """Print the report of a study, finished or still running, and renew its report.html, .json and pareto.png."""
    from search.study import open_named

    if follow is not None and follow < 1:
        raise InputError(f"--follow must be at least 1 second, got {follow}; raise it or leave it out")
    opened, spec, _ = found = open_named(study, storage)
    folder, options = found.folder, command_options(study, storage)
    if follow is not None:
        renew_while_searched(opened, spec, folder, options, seconds=follow)
    make_report(opened, spec, folder, options)
    return 0


def renew_while_searched(study: Study, spec: StudySpec, folder: Path, options: str, *, seconds: int) -> None:
    """Write the files every SECONDS seconds, until no living process searches the study, or until Ctrl-C.

    Meanwhile the page asks the browser to read it again as often. Its last version, which does not, is left
    to the caller.
    """
    from search.storage import database_of, is_searched

    database_of(study).is_patient = True
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while is_searched(study):
            write_files(study, spec, folder, options, refresh_seconds=seconds)
            say(f"{folder / 'report.html'} renewed; again in {seconds} s (Ctrl-C ends it)")
            time.sleep(seconds)
    except KeyboardInterrupt:
        say("Stopped.")
    finally:
        signal.signal(signal.SIGTERM, previous)


def make_report(study: Study, spec: StudySpec, folder: Path, options: str) -> None:
    """Print the report, and write its files into the study's folder.

    Raises:
        InputError: The folder cannot be written.
    """
    from rich.console import Console

    from search.report.terminal import print_report

    print_report(study, spec, Console(), options=options)
    write_files(study, spec, folder, options)
    say(f"\nThe whole report: {printable(folder / 'report.html')}")


def write_files(
    study: Study, spec: StudySpec, folder: Path, options: str, *, refresh_seconds: int | None = None
) -> None:
    """Write ``report.json``, ``pareto.png`` and ``report.html``, each in one piece, from one look at the study.

    Raises:
        InputError: The folder cannot be written.
    """
    from search.report.html import render
    from search.report.pareto_png import write_pareto_picture
    from search.report.summary import summarise

    summary = summarise(study, spec)
    write_report(summary, folder / "report.json")
    write_pareto_picture(summary, folder / "pareto.png")
    page = render(summary, options=options, refresh_seconds=refresh_seconds)
    write_atomically(folder / "report.html", page.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(report, name="search.report", argv=argv)
