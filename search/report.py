"""A study, finished or running -> terminal tables and report.json: python -m search.report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from search.confirmed import print_confirmation
from search.credentials import StorageOption, chosen_url
from search.page import print_page
from search.summary import bound, describe_counts, duration, figures, percent, rate, shortfall, summarise
from trainers.cli import launch
from trainers.config import METRIC_NAMES
from trainers.errors import printable
from trainers.files import write_atomically

if TYPE_CHECKING:
    from optuna.study import Study

    from search.spec import StudySpec


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
    say(describe_counts(summary["counts"]), end="\n\n")
    say(_verdict(summary), style="bold green" if summary["goal"]["met"] else "bold yellow")
    if not summary["goal"]["met"]:
        say(_advice(summary))
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
    for purpose, command in _next_commands(summary, printable(options or f"--study {spec.name}")):
        say(f"  {purpose:<16}{command}", soft_wrap=True)


def write_report(study: Study, spec: StudySpec, path: Path) -> None:
    """Write ``report.json`` in one piece, so that a reader never meets half of it; schema: ``summarise``.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(path, json.dumps(summarise(study, spec), indent=2, ensure_ascii=False).encode() + b"\n")


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
) -> int:
    """Print the report of a study, finished or still running, and renew its report.json and pareto.png."""
    from search.spec import find_study, load_spec
    from search.storage import begun_with, open_study, results_dir

    path = find_study(study)
    spec = load_spec(path)
    opened = open_study(spec, path, storage_url=chosen_url(storage), create=False)
    make_report(opened, begun_with(opened, spec), results_dir(path, spec), command_options(study, storage))
    return 0


def make_report(study: Study, spec: StudySpec, folder: Path, options: str) -> None:
    """Print the report, and write ``report.json`` and ``pareto.png`` into the study's folder.

    Raises:
        InputError: The folder cannot be written.
    """
    from search.picture import write_pareto_picture

    print_report(study, spec, Console(), options=options)
    write_report(study, spec, folder / "report.json")
    write_pareto_picture(summarise(study, spec), folder / "pareto.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(report, name="search.report", argv=argv)


def _verdict(summary: dict[str, Any]) -> str:
    goal, best, nearest = (summary[k] for k in ("goal", "best", "nearest"))
    wanted, ceiling = bound(goal["validation_accuracy"]), bound(goal["training_accuracy"])
    name = METRIC_NAMES[summary["metric"]]
    text = f"Goal: validation {name} >= {wanted}, training < {ceiling}: "
    if goal["met"]:
        return f"{text}met by {figures(summary['trials'][goal['trial']])}."
    if not nearest:
        return f"{text}not met. No trial has completed yet."
    short, above = shortfall(nearest, goal)
    missing = [f"{percent(short, unit='')} points short"] if short > 0 else []
    missing += [f"{percent(above, unit='')} points over the ceiling"] if above >= 0 else []
    text += "not met; nearest is " if best else "not met. No trial stayed under the ceiling. Nearest is "
    text += f"{figures(nearest)} ({' and '.join(missing)})"
    if best and best["number"] != nearest["number"]:
        text += f"; best under the ceiling is {figures(best)}"
    return f"{text}."


def _advice(summary: dict[str, Any]) -> str:
    """Say what to change, going by the trial that came nearest."""
    nearest = summary["nearest"]
    if not nearest:
        return "What to do: let the search go on; a report needs a trial that ran to its end."
    remedy = "freeze fewer layers, raise the learning rate or the patience, lower dropout"
    if shortfall(nearest, summary["goal"])[1] >= 0:
        remedy = "raise dropout, freeze more layers, lower the learning rate or the patience"
    s = nearest["settings"]
    return (
        f"What to do: more trials, or other ranges in the study's TOML file: {remedy}. Trial {nearest['number']} "
        f"had dropout {s['dropout']:.3g}, freeze depth {s['freeze_depth']}, learning rate "
        f"{rate(s['learning_rate'])}."
    )


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
        accuracies = [percent(row[k], unit="") for k in ("validation_accuracy", "training_accuracy")]
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
    best = {"recipe": "best here", "reported": {}, "capped_at": None, "trial": summary["best"]}
    for entry in summary["recipes"] + ([best] if summary["best"] else []):
        row = entry["trial"] or {}
        sources = (entry["reported"], row)
        accuracies = [s.get(k) for s in sources for k in ("training_accuracy", "validation_accuracy")]
        cells = [percent(a, unit="") for a in accuracies]
        remark = Text(_remark(row, capped_at=entry["capped_at"]))  # a str would be read as markup
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


def _next_commands(summary: dict[str, Any], options: str) -> Iterable[tuple[str, str]]:
    yield "look at it", f"python -m search.dashboard {options}"
    if summary["best"] and not summary["confirmation"]:
        yield "confirm it", f"python -m search.confirm {options}"
    if summary["best"]:
        yield "keep the winner", f"python -m search.export {options}"
    more = (summary["counts"]["finished"] // 25 + 1) * 25
    yield "search on", f"python -m search.run {options} --trials {more}"
    missing = [entry["recipe"] for entry in summary["recipes"] if entry["trial"] is None]
    if missing:
        yield f"add {missing[0]}", f"python -m search.run {options} --trials {more} --recipes all"


if __name__ == "__main__":
    sys.exit(main())
