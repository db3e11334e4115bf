"""What the confirmation of a study found, in a table and in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from search.summary import percent
from trainers.config import METRIC_NAMES

SIGNIFICANT = 0.05


def print_confirmation(summary: dict[str, Any], console: Console) -> None:
    """Print what became of the finalists on fresh seeds and on the test split; nothing if there is no such thing.

    Args:
        summary: What ``search.summary.summarise`` says of the study.
        console: Where to.
    """
    if not summary["confirmation"]:
        return
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say()
    console.print(_table(summary))
    for sentence in sentences(summary):
        say(sentence)


def sentences(summary: dict[str, Any]) -> Iterator[str]:
    """Say who won and how, how much of the search's figure was luck, and which differences are none."""
    found = summary["confirmation"]
    rows = {row["name"]: row for row in found["finalists"]}
    seeds = len(found["seeds"])
    if found["winner"] is None:
        yield f"No setup stays under the ceiling with most of {seeds} fresh seeds, so there is no winner."
    else:
        yield f"Winner: {found['winner']}, by {found['rule']}."
        row = rows[found["winner"]]
        if row["optimism"] is not None:
            yield (
                f"The search promised {percent(row['search']['validation_accuracy'])} validation; "
                f"{seeds} fresh seeds gave {_with_spread(row['validation'])}: {_too_good(row['optimism'])}."
            )
    for pair in found["comparisons"]:
        yield _difference(pair)
    more = summary["counts"]["finished"] - found["after"]
    if more > 0:
        ended = "1 trial has" if more == 1 else f"{more} trials have"
        yield f"{ended} ended since; confirm again: python -m search.confirm."


def _table(summary: dict[str, Any]) -> Table:
    found = summary["confirmation"]
    table = Table(
        title=f"Confirmed on {len(found['seeds'])} fresh seeds and {found['num_test']:,} test texts, "
        f"{METRIC_NAMES[summary['metric']]} in %",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("setup", no_wrap=True)
    for head in (
        "in the\nsearch",
        "valid\nmean +-",
        "train\nmean",
        "under the\nceiling",
        "test",
        "95 %\ninterval",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found["finalists"]:
        test = row["test"] or {"accuracy": None, "low": None, "high": None}
        interval = "-" if test["low"] is None else f"{100 * test['low']:.2f}-{100 * test['high']:.2f}"
        cells = [
            percent(row["search"] and row["search"]["validation_accuracy"], unit=""),
            _with_spread(row["validation"], unit=""),
            percent(row["training"]["mean"], unit=""),
            f"{round(row['share_under_ceiling'] * len(found['seeds']))} of {len(found['seeds'])}",
            percent(test["accuracy"], unit=""),
            interval,
        ]
        table.add_row(row["name"], *cells, style="bold green" if row["name"] == found["winner"] else "")
    return table


def _too_good(optimism: float) -> str:
    if optimism <= 0:
        return "it did not promise too much"
    return f"{percent(optimism, unit='')} points of it were luck"


def _with_spread(figures: dict[str, float | None], *, unit: str = " %") -> str:
    spread = figures["spread"]
    return percent(figures["mean"], unit=unit) + ("" if spread is None else f" +- {percent(spread, unit='')}")


def _difference(pair: dict[str, Any]) -> str:
    points = f"{100 * pair['difference']:+.2f} points"
    interval = "" if pair["low"] is None else f" ({100 * pair['low']:+.2f} to {100 * pair['high']:+.2f})"
    p = f"p = {pair['p_holm']:.2g}" if pair["p_holm"] >= 0.0001 else "p < 0.0001"
    could = "a difference" if pair["p_holm"] < SIGNIFICANT else "may be luck"
    return f"{pair['first']} against {pair['second']}, test split: {points}{interval}, {p}: {could}."
