"""A study, finished or running -> terminal tables and report.json: python -m search.report."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from search.analysis import print_page
from search.report.conclusions import advice, falls_short, next_commands, verdict, worth
from search.report.confirmation import print_confirmation
from search.report.summary import summarise
from search.storage import StorageOption
from search.study import bound, describe_counts, duration, percent, rate, stages_in_words, training_figure
from search.terminal import say
from trainers.cli import launch
from trainers.config import METRIC_NAMES
from trainers.errors import InputError, printable
from trainers.files import write_atomically

if TYPE_CHECKING:
    from optuna.study import Study

    from search.study import StudySpec


def print_report(study: Study, spec: StudySpec, console: Console, *, options: str | None = None) -> None:
    """Print goal, counts, Pareto-best trials, recipes, cost and the next commands.

    Args:
        study: Finished or still running.
        spec: What the study was asked for.
        console: Where to; without a terminal behind it the text is plain.
        options: With which a command finds the study again; absent means ``--study NAME``.
    """
    summary = summarise(study, spec)
    cost = summary["cost"]
    say = partial(console.print, highlight=False, markup=False)
    say(
        f"\nStudy {spec.name}, seed {spec.seed}: {summary['counts']['finished']} trials finished",
        style="bold",
    )
    if short := falls_short(summary["opponents"]):
        say(printable(short), style="bold yellow")
    say("Worth it?")
    for name, said in worth(summary["opponents"]):
        say(f"  {name}: {printable(said)}")
    say(describe_counts(summary["counts"]))
    if summary["flat"]:
        say(summary["flat"]["sentence"])
    for sentence in summary["start"]:
        say(printable(sentence))
    say()
    say(verdict(summary), style="bold green" if summary["goal"]["met"] else "bold yellow")
    if not summary["goal"]["met"]:
        say(advice(summary))
    say(summary["hypervolume"]["sentence"])
    if summary["ceiling"]:
        say(summary["ceiling"]["sentence"])
    for sentence in summary["idle_settings"]:
        say(printable(sentence))
    for table in (_pareto_table(summary), _recipe_table(summary), _account_table(cost["account"])):
        if table.rows:
            # At least 80 columns wide: a narrower terminal wraps lines itself, and no figure is ever cut.
            width = max(80, console.width)
            table.padding = (0, 1 if width >= 110 else 0)
            lines = console.render_lines(
                table, console.options.update(width=width), pad=False, new_lines=True
            )
            say()
            say(Segments(segment for line in lines for segment in line), soft_wrap=True, end="")
    print_confirmation(summary, console)
    print_page(summary["data"], console)
    size = "not recorded" if cost["cache_bytes"] is None else f"{cost['cache_bytes'] / 2**20:,.0f} MiB"
    say(f"\nWall time {duration(cost['wall_seconds'])}, feature cache {size}.")
    say()
    say("Next:", style="bold")
    for purpose, command in next_commands(summary, printable(options or f"--study {spec.name}")):
        say(f"  {purpose:<16}{command}", soft_wrap=True)


def write_report(summary: dict[str, Any], path: Path) -> None:
    """Write ``report.json`` in one piece, so that a reader never meets half of it.

    Args:
        summary: What ``summarise`` says of the study.
        path: Of the file.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(path, json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n")


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
        Parameter(help="Renew the files every so many seconds while the search runs. [default: once]"),
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
    """Write the files every so many seconds, until no living process searches the study, or until Ctrl-C.

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

    summary = summarise(study, spec)
    write_report(summary, folder / "report.json")
    write_pareto_picture(summary, folder / "pareto.png")
    page = render(summary, options=options, refresh_seconds=refresh_seconds)
    write_atomically(folder / "report.html", page.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(report, name="search.report", argv=argv)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _pareto_table(summary: dict[str, Any]) -> Table:
    name = METRIC_NAMES[summary["metric"]]
    table = _table(
        f"Pareto-best trials by {name}: validation up, training down",
        *("trial", "valid\n%", "train\n%", "gap", f"under\n{bound(summary['goal']['training_accuracy'])}"),
        *("freeze\ndepth", "drop-\nout", "head\nwidth", "learning\nrate", "patience", "epochs", "time\n(s)"),
    )
    best = (summary["best"] or {}).get("number")
    for row in summary["pareto"]:
        s = row["settings"]
        training = training_figure(row["training_accuracy"], exact=row["training_exact"], unit="")
        accuracies = [percent(row["validation_accuracy"], unit=""), training]
        cells = [row["number"], *accuracies, f"{100 * row['gap']:+.2f}", "yes" if row["feasible"] else "no"]
        cells += [s["freeze_depth"], f"{s['dropout']:.3f}", s["head_width"], rate(s["learning_rate"])]
        cells += ["-" if s["patience"] is None else s["patience"], *_spent(row)]
        style = "bold green" if row["number"] == best else "" if row["feasible"] else "dim"
        table.add_row(*map(str, cells), style=style)
    return table


def _recipe_table(summary: dict[str, Any]) -> Table:
    table = _table(
        f"Known recipes: accuracy reported elsewhere, {METRIC_NAMES[summary['metric']]} measured here",
        *("recipe", "reported\ntrain %", "reported\nvalid %", "measured\ntrain %", "measured\nvalid %"),
        *("epochs", "time\n(s)", ""),
    )
    table.columns[0].justify = table.columns[-1].justify = "left"
    table.columns[-1].no_wrap = False
    best = {"recipe": "best here", "reported": {}, "trial": summary["best"]}
    best |= {"capped_at": None, "stages": [], "at_chance": None}
    for entry in summary["recipes"] + ([best] if summary["best"] else []):
        row = entry["trial"] or {}
        sources = (entry["reported"], row)
        accuracies = [s.get(k) for s in sources for k in ("training_accuracy", "validation_accuracy")]
        cells = [percent(a, unit="") for a in accuracies]
        said = _remark(row, capped_at=entry["capped_at"])
        if entry["stages"]:
            said += f", {stages_in_words(entry['stages'])}"
        if entry["at_chance"]:
            said += f", {entry['at_chance']}"
        remark = Text(said)  # a str would be read as markup
        table.add_row(entry["recipe"], *cells, *_spent(row), remark)
    return table


def _account_table(account: dict[str, Any] | None) -> Table:
    """Say where the time of the workers went, the largest share first."""
    if account is None:
        return _table("")
    workers, peak = account["workers"], account["peak_flops"] / 1e9
    table = _table(
        f"Where the time of {workers} worker{'s' * (workers > 1)} went", "", "time\n(s)", "share\n%"
    )
    table.columns[0].justify = "left"
    total = sum(account["seconds"].values())
    for name, seconds in sorted(account["seconds"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{seconds:.0f}", percent(seconds / total, unit=""))
    table.caption = f"Of the {peak:.0f} GFLOP/s that a product of matrices reached here, "
    if account["useful_mfu"] is not None:
        table.caption += f"fits with trainable layers used {percent(account['useful_mfu'])}, "
    table.caption += f"the whole search {percent(account['utilisation'])}."
    table.caption_justify = "left"
    return table


def _spent(row: dict[str, Any]) -> tuple[str, str]:
    epochs, seconds = row.get("epochs"), row.get("seconds")
    return "-" if epochs is None else f"{epochs:.4g}", "-" if seconds is None else f"{seconds:.0f}"


def _remark(row: dict[str, Any], *, capped_at: int | None) -> str:
    if not row:
        return "not run"
    if row["state"] != "complete":
        reason = f": {printable(row['reason'])}" if row["reason"] else ""
        return f"trial {row['number']} {row['state']}{reason}"
    over = "" if row["feasible"] else ", over the ceiling"
    return f"trial {row['number']}{over}" + (f", cut at {capped_at} epochs" if capped_at else "")
