"""What the confirmation of a study found, in a table and in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from search.analysis import CONFIDENCE
from search.report.conclusions import each, mean_and_spread
from search.report.reliability import believed
from search.study import percent
from trainers.config import METRIC_NAMES, Metric
from trainers.errors import printable

if TYPE_CHECKING:
    from search.analysis import Comparison, ConfirmedFinalist, Difference, Outcome

SIGNIFICANT = 0.05


def print_confirmation(found: Outcome | None, console: Console, *, metric: Metric, num_finished: int) -> None:
    """Print what became of the finalists on fresh seeds and on the test split; nothing if there is no such thing.

    Args:
        found: What the confirmation said.
        console: Where to.
        metric: The study's.
        num_finished: Trials that have finished by now.
    """
    if found is None:
        return
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say()
    console.print(_table(found, metric))
    for sentence in sentences(found, num_finished=num_finished):
        say(sentence)


def sentences(found: Outcome, *, num_finished: int) -> Iterator[str]:
    """Say who won and how, how much of the search's figure was luck, which differences are none, and what that covers."""
    rows = {row.name: row for row in found.finalists}
    seeds = _fresh_seeds(len(found.seeds))
    if found.winner is None:
        yield f"No setup stays under the ceiling with most of {seeds}, so there is no winner."
    else:
        yield f"Winner: {found.winner}, by {found.rule}."
        yield from luck(rows[found.winner])
        test = rows[found.winner].test
        if test and test.on_scale:
            yield f"On the scale, test split: {test.on_scale}."
        yield from labels_tested(rows[found.winner])
    for pair in found.comparisons:
        yield _difference(pair)
    yield coverage(found)
    yield from believed(found)
    if len(found.processors) > 1:
        yield f"Fits were made on processors that round differently: {'; '.join(map(printable, found.processors))}."
    more = num_finished - found.after
    if more > 0:
        ended = "1 trial has" if more == 1 else f"{more} trials have"
        yield f"{ended} ended since; confirm again: python -m search.confirm."


def luck(row: ConfirmedFinalist) -> Iterator[str]:
    """Say how far the search's figure of a finalist was too good, and how far validation is; each with its error."""
    above, test, fits = row.flattery, row.test, len(row.complete_fits)
    if row.search and above.search_above_fresh:
        yield (
            f"The search promised {percent(row.search.validation_accuracy)} validation; "
            f"{_fresh_seeds(fits)} gave {mean_and_spread(row.validation)}: "
            f"{_above(above.search_above_fresh, 'luck of the seed and of the choice among many')}."
        )
    if test and above.fresh_above_test:
        who = f"Those {fits} fits" if fits > 1 else "That fit"
        if test.num_fits < fits:  # version 0.1.0 tested one
            kept = next(fit for fit in row.fits if fit.seed == test.seed)
            who = f"One of them, with {percent(kept.validation_accuracy)} validation,"
        yield (
            f"{who} gave {mean_and_spread(test.over_seeds)} on the test split: "
            f"{_above(above.fresh_above_test, 'flattery of a validation split that was looked at often')}."
        )
    if above.search_above_test:
        yield f"From the search to the test split: {_above(above.search_above_test, 'luck of all kinds')}."


def labels_tested(row: ConfirmedFinalist) -> Iterator[str]:
    """Say the F1 of each label on the test split, where texts may have several; else nothing."""
    if row.test and row.test.label_f1:
        over = f", mean of {row.test.num_fits} fits" if row.test.num_fits > 1 else ""
        yield f"F1 by label, test split{over}: {each(row.test.label_f1)}."


def coverage(found: Outcome) -> str:
    """Say in one sentence what the intervals of a confirmation cover."""
    what = "texts" if found.num_test_groups is None else "groups of texts"
    most = max((row.test.num_fits for row in found.finalists if row.test), default=0)
    if most < 2:
        return (
            f"Intervals ({100 * CONFIDENCE:g} %) and p speak of other {what} like these, not of other seeds: one fit of each "
            f"setup was tested.{_groups_told(found)}"
        )
    return (
        f"Intervals ({100 * CONFIDENCE:g} %) speak of other seeds and of other {what} like these, as far as {most} seeds can "
        f"tell; p (paired permutation, Holm) speaks of these fits on other {what}.{_groups_told(found)}"
    )


def _groups_told(found: Outcome) -> str:
    """Say that groups were resampled, where there are any."""
    if found.num_test_groups is None:
        return ""
    return f" Texts of a group were kept together: the {found.num_test:,} test texts count as {found.num_test_groups:,} groups."


def _above(difference: Difference, cause: str) -> str:
    """Say how far one figure lies above another, and call it by its cause only where its error does not explain it."""
    value, low, high = difference.value, difference.low, difference.high
    points = f"{100 * abs(value):.2f} points {'less' if value > 0 else 'more'}"
    if low is None or high is None:
        return f"{points}, whose error is not known" + (", so not to be called luck" if value > 0 else "")
    error = f"{100 * (high - low) / 2:.2f}"
    if low <= 0 <= high:
        return f"{points}, within the error of {error}" + (", so not to be called luck" if value > 0 else "")
    return f"{points}, beyond the error of {error}" + (f": {cause}" if value > 0 else "")


def _table(found: Outcome, metric: Metric) -> Table:
    table = Table(
        title=f"Confirmed on {_fresh_seeds(len(found.seeds))} and {found.num_test:,} test texts, "
        f"{METRIC_NAMES[metric]} in %",
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
        "test\nmean",
        "95 %\ninterval",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found.finalists:
        test, interval = row.test, "-"
        if test and test.low is not None and test.high is not None:
            interval = f"{100 * test.low:.2f}-{100 * test.high:.2f}"
        cells = [
            percent(row.search.validation_accuracy if row.search else None, unit=""),
            mean_and_spread(row.validation, unit=""),
            percent(row.training.mean, unit=""),
            f"{round(row.share_under_ceiling * len(found.seeds))} of {len(found.seeds)}",
            percent(test.accuracy if test else None, unit=""),
            interval,
        ]
        table.add_row(row.name, *cells, style="bold green" if row.name == found.winner else "")
    return table


def _fresh_seeds(number: int) -> str:
    return f"{number} fresh seed{'s' * (number != 1)}"


def _difference(pair: Comparison) -> str:
    points = f"{100 * pair.difference:+.2f} points"
    interval = ""
    if pair.low is not None and pair.high is not None:
        interval = f" ({100 * pair.low:+.2f} to {100 * pair.high:+.2f})"
    p = f"p = {pair.p_holm:.2g}" if pair.p_holm >= 0.0001 else "p < 0.0001"
    return f"{pair.first} against {pair.second}, test split: {points}{interval}, {p}: {conclusion(pair)}."


def conclusion(pair: Comparison) -> str:
    """Say what a comparison shows: a difference of setups needs fits that differ, and an interval over seeds without 0."""
    if pair.p_holm >= SIGNIFICANT:
        return "may be luck"
    if pair.num_seeds == 1:
        return "these two fits differ, other seeds may not"
    if pair.low is None or pair.high is None or pair.low <= 0 <= pair.high:
        return "these fits differ, other seeds may not"
    return "a difference"
