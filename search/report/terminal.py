"""The report on a terminal: sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from search.analysis import print_page
from search.report.conclusions import (
    advice,
    asks_for_little,
    by_label,
    falls_short,
    next_commands,
    on_the_scale,
    verdict,
    worth_of,
)
from search.report.confirmation import print_confirmation
from search.report.summary import summarise
from search.study import bound, describe_counts, duration, percent, rate, stages_in_words, training_figure
from trainers.config import METRIC_NAMES
from trainers.errors import printable

if TYPE_CHECKING:
    from optuna.study import Study

    from search.analysis import Account
    from search.report.models import Cost, NodeRow, RecipeRow, Reported, Summary, TrialRow
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
    say = partial(console.print, highlight=False, markup=False)
    say(
        f"\nStudy {spec.name}, seed {spec.seed}: {summary.counts.finished} trials finished",
        style="bold",
    )
    if short := falls_short(summary.opponents):
        say(printable(short), style="bold yellow")
    say("Worth it?")
    for name, said in worth_of(summary):
        say(f"  {name}: {printable(said)}")
    say(describe_counts(summary.counts))
    if summary.flat:
        say(summary.flat.sentence)
    for sentence in summary.start:
        say(printable(sentence))
    say()
    say(verdict(summary), style="bold green" if summary.goal.met else "bold yellow")
    for beside in (on_the_scale(summary), by_label(summary)):
        if beside:
            say(beside)
    if little := asks_for_little(summary):
        say(little, style="bold yellow")
    if not summary.goal.met:
        say(advice(summary))
    say(summary.hypervolume.sentence)
    if summary.ceiling:
        say(summary.ceiling.sentence)
    for sentence in summary.idle_settings:
        say(printable(sentence))
    for table in (
        _pareto_table(summary),
        _recipe_table(summary),
        _account_table(summary.cost.account),
        _node_table(summary.nodes or ()),
    ):
        if table.rows:
            # At least 80 columns wide: a narrower terminal wraps lines itself, and no figure is ever cut.
            width = max(80, console.width)
            table.padding = (0, 1 if width >= 110 else 0)
            lines = console.render_lines(
                table, console.options.update(width=width), pad=False, new_lines=True
            )
            say()
            say(Segments(segment for line in lines for segment in line), soft_wrap=True, end="")
    print_confirmation(
        summary.confirmation, console, metric=summary.metric, num_finished=summary.counts.finished
    )
    print_page(summary.data, console)
    say(f"\n{_cost(summary.cost)}")
    say()
    say("Next:", style="bold")
    for purpose, command in next_commands(summary, printable(options or f"--study {spec.name}")):
        say(f"  {purpose:<16}{command}", soft_wrap=True)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _pareto_table(summary: Summary) -> Table:
    name = METRIC_NAMES[summary.metric]
    table = _table(
        f"Pareto-best trials by {name}: validation up, training down{_means(summary)}",
        *("trial", "valid\n%", "train\n%", "gap", f"under\n{bound(summary.goal.training_accuracy)}"),
        *("freeze\ndepth", "drop-\nout", "head\nwidth", "learning\nrate", "patience", "epochs", "time\n(s)"),
    )
    best = summary.best.number if summary.best else None
    for row in summary.pareto:
        s = row.settings
        training = training_figure(row.training_accuracy, exact=row.training_exact, unit="")
        accuracies = [validation_figure(row), training]
        cells = [row.number, *accuracies, _points(row.gap), "yes" if row.feasible else "no"]
        cells += [s["freeze_depth"], f"{s['dropout']:.3f}", s["head_width"], rate(s["learning_rate"])]
        cells += ["-" if s["patience"] is None else s["patience"], *_spent(row)]
        style = "bold green" if row.number == best else "" if row.feasible else "dim"
        table.add_row(*map(str, cells), style=style)
    return table


def _means(summary: Summary) -> str:
    folds = summary.data.folds if summary.data else None
    return f"; means of {folds} folds ± standard error" if folds else ""


def validation_figure(row: TrialRow) -> str:
    """Write a trial's validation accuracy without a unit; of folds, with the standard error of their mean."""
    error = row.folds.validation_error if row.folds else None
    return percent(row.validation_accuracy, unit="") + ("" if error is None else f"\n± {100 * error:.2f}")


def _recipe_table(summary: Summary) -> Table:
    table = _table(
        f"Known recipes: accuracy reported elsewhere, {METRIC_NAMES[summary.metric]} measured here",
        *("recipe", "reported\ntrain %", "reported\nvalid %", "measured\ntrain %", "measured\nvalid %"),
        *("epochs", "time\n(s)", ""),
    )
    table.columns[0].justify = table.columns[-1].justify = "left"
    table.columns[-1].no_wrap = False
    for entry in summary.recipes:
        table.add_row(
            entry.recipe, *_figures(entry.reported, entry.trial), Text(_remark_on(entry))
        )  # a str would be read as markup
    if summary.best:
        table.add_row("best here", *_figures(None, summary.best), Text(_remark(summary.best, capped_at=None)))
    return table


def _node_table(nodes: Sequence[NodeRow]) -> Table:
    """Say which nodes of a cluster fitted, and how much."""
    table = _table("Nodes that fitted", "node", "trials", "lost", "fits\n(s)", "on")
    for column in (0, -1):
        table.columns[column].justify = "left"
    for row in nodes:
        on = row.processor if row.device == "cpu" else row.device
        table.add_row(
            printable(row.node), str(row.trials), str(row.lost), f"{row.seconds:.0f}", printable(on)
        )
    kinds = {row.processor if row.device == "cpu" else row.device for row in nodes}
    if len(kinds) > 1:
        table.caption = (
            f"Fits ran on {len(kinds)} kinds of processors, which may differ in last bits: a winner repeats bit for "
            "bit on the kind that fitted it."
        )
        table.caption_justify = "left"
    return table


def _account_table(account: Account | None) -> Table:
    """Say where the time of the workers went, the largest share first."""
    if account is None:
        return _table("")
    workers, peak = account.workers, account.peak_flops / 1e9
    table = _table(
        f"Where the time of {workers} worker{'s' * (workers > 1)} went", "", "time\n(s)", "share\n%"
    )
    table.columns[0].justify = "left"
    total = sum(account.seconds.values())
    for name, seconds in sorted(account.seconds.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{seconds:.0f}", percent(seconds / total, unit=""))
    table.caption = f"Of the {peak:.0f} GFLOP/s that a product of matrices reached here, "
    if account.useful_mfu is not None:
        table.caption += f"fits with trainable layers used {percent(account.useful_mfu)}, "
    table.caption += f"the whole search {percent(account.utilisation)}."
    table.caption_justify = "left"
    return table


def _figures(reported: Reported | None, row: TrialRow | None) -> list[str]:
    """Write both accuracies as they were reported and measured, and what the trial took."""
    sources = (reported, row)
    accuracies = [
        percent(figure, unit="")
        for source in sources
        for figure in ((source.training_accuracy, source.validation_accuracy) if source else (None, None))
    ]
    return [*accuracies, *_spent(row)]


def _spent(row: TrialRow | None) -> tuple[str, str]:
    if row is None:
        return "-", "-"
    epochs = "-" if row.epochs is None else f"{row.epochs:.4g}"
    return epochs, "-" if row.seconds is None else f"{row.seconds:.0f}"


def _remark_on(entry: RecipeRow) -> str:
    stages = [stages_in_words(entry.stages)] if entry.stages else []
    chance = [entry.at_chance] if entry.at_chance else []
    return ", ".join([_remark(entry.trial, capped_at=entry.capped_at), *stages, *chance])


def _remark(row: TrialRow | None, *, capped_at: int | None) -> str:
    if row is None:
        return "not run"
    if row.state != "complete":
        reason = f": {printable(row.reason)}" if row.reason else ""
        return f"trial {row.number} {row.state}{reason}"
    over = "" if row.feasible else ", over the ceiling"
    return f"trial {row.number}{over}" + (f", cut at {capped_at} epochs" if capped_at else "")


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f}"


def _cost(cost: Cost) -> str:
    size = "not recorded" if cost.cache_bytes is None else f"{cost.cache_bytes / 2**20:,.0f} MiB"
    return f"Wall time {duration(cost.wall_seconds)}, feature cache {size}."
