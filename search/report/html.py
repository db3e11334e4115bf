"""report.html: all that a study says, on one page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from search.analysis import describe, state, texts_table
from search.report.conclusions import (
    advice,
    asks_for_little,
    by_label,
    falls_short,
    fresh_seeds,
    mean_and_spread,
    next_commands,
    on_the_scale,
    verdict,
    worth_of,
)
from search.report.confirmation import conclusion, coverage, labels_tested, luck
from search.report.plotting import DARK, written
from search.report.reliability import believed
from search.report.thinning import note_of, thinned
from search.study import bound, describe_counts, duration, origin, percent, stages_in_words, training_figure
from trainers.config import METRIC_NAMES
from trainers.errors import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.analysis import ConfirmedFinalist, Outcome
    from search.report.models import Summary
    from search.study import Counts


def _unbroken(write: Callable[..., str]) -> Callable[..., str]:
    """Keep a number and its unit on one line."""
    return lambda *args, **kwargs: write(*args, **kwargs).replace(" ", "\u00a0")


def _interval(finalist: ConfirmedFinalist) -> str:
    """Write the interval of a finalist's test figure, to be broken in one place; a dash where none is known."""
    test = finalist.test
    if test is None or test.low is None or test.high is None:
        return "-"
    return f"{percent(test.low, unit='')} to\u00a0{percent(test.high, unit='')}"


_FILTERS: dict[str, Callable[..., str]] = {
    "percent": _unbroken(percent),
    "training": _unbroken(training_figure),
    "stages": stages_in_words,
    "origin": lambda row: origin({"recipe": row.recipe, "start": row.start}),
    "points": lambda share: "-" if share is None else f"{100 * share:+.2f}",
    "error": lambda difference: (
        "" if difference.low is None else f" ± {50 * (difference.high - difference.low):.2f}"
    ),
    "mean": lambda figures, **unit: _unbroken(mean_and_spread)(figures, **unit).replace("+-", "±"),
    "bound": _unbroken(bound),
    "duration": _unbroken(duration),
    "interval": _interval,
    "setting": written,
    "words": lambda key: key.replace("_", " "),
    "folds_error": lambda row, unit="": (
        ""
        if row.folds is None or row.folds.validation_error is None
        else f"\u00a0±\u00a0{100 * row.folds.validation_error:.2f}{unit}"
    ),
    "printable": printable,
    "finding": describe,
    "fresh_seeds": fresh_seeds,
    "conclusion": conclusion,
}


def render(summary: Summary, *, options: str, refresh_seconds: int | None = None) -> str:
    """Return the page; it carries plotly (4.8 MB), and asks nothing of any network.

    Whatever came from the user is text on it: jinja2 escapes, figures escape what they say, and the page's
    policy lets its own two scripts run and no other.

    Args:
        summary: What ``search.report.summary.summarise`` says of the study.
        options: With which a command finds the study again.
        refresh_seconds: After which a browser reads the file again; None for never.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    from search.analysis import LITTLE_GROWTH

    environment = Environment(
        loader=PackageLoader("search.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    scripts = [get_plotlyjs(), _asset("report.js")]
    shown = thinned(summary)
    return environment.get_template("report.html").render(
        s=shown,
        num_checkpoints=len(summary.checkpoints),
        thinned=note_of(shown, summary),
        metric=METRIC_NAMES[summary.metric],
        best=summary.shown,
        state=state(summary.goal),
        verdict=verdict(summary).replace("+-", "±"),
        short=falls_short(summary.opponents),
        worth=list(worth_of(summary)),
        beside=list(filter(None, (on_the_scale(summary), by_label(summary)))),
        little=asks_for_little(summary),
        advice=None if summary.goal.met else advice(summary),
        luck=[sentence.replace("+-", "±") for sentence in _luck_of_winner(summary.confirmation)],
        believed=[s.replace(" %", "\u00a0%") for s in believed(summary.confirmation)]
        if summary.confirmation
        else [],
        coverage=coverage(summary.confirmation) if summary.confirmation else None,
        counts=describe_counts(summary.counts),
        endings=list(_endings(summary.counts)),
        commands=list(next_commands(summary, printable(options))),
        options=printable(options),
        texts=texts_table(summary.data) if summary.data and summary.data.texts_per_class else None,
        figures={"figures": {name: json.loads(f.to_json()) for name, f in _figures(shown)}, "dark": DARK},
        little_growth=LITTLE_GROWTH,
        slices=list(_open(summary)),
        spec_text=_indented(summary.spec),
        config_text=_indented(summary.best.config if summary.best else None),
        scripts=scripts,
        policy=" ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
        style=_asset("report.css"),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        refresh_seconds=refresh_seconds,
    )


def _figures(summary: Summary) -> Iterator[tuple[str, go.Figure]]:
    """Yield each figure that the page has a place for, with the id of that place."""
    from search.report import comparisons, figures, reliability

    if summary.confirmation:
        yield "figure-confirmation", comparisons.confirmation_figure(summary)
        if (calibration := summary.confirmation.calibration) is not None:
            for number, split in enumerate(calibration.splits.values()):
                drawn = reliability.reliability_figure(split, is_scaled=calibration.reason is None)
                yield f"figure-reliability-{number}", drawn
    yield "figure-recipes", comparisons.recipes_figure(summary)
    yield "figure-pareto", figures.pareto_figure(summary)
    if summary.checkpoints:
        yield "figure-curves", figures.learning_curves_figure(summary)
        yield "figure-gap", figures.gap_figure(summary)
    if summary.importances.shares:
        yield "figure-importances", figures.importances_figure(summary)
    for name in _open(summary):
        yield f"figure-slice-{name}", figures.slice_figure(summary, name)
    if summary.hypervolume.history:
        yield "figure-hypervolume", figures.hypervolume_figure(summary)


def _luck_of_winner(confirmation: Outcome | None) -> Iterator[str]:
    """Yield what is said of the luck of who won; nothing if nobody did."""
    if confirmation is not None:
        for row in confirmation.finalists:
            if row.name == confirmation.winner:
                yield from luck(row)
                yield from labels_tested(row)


def _open(summary: Summary) -> Iterator[str]:
    """Yield the settings that the study searches."""
    for name, choice in summary.spec["fit"].items():
        if isinstance(choice, dict | list):
            yield name


def _endings(counts: Counts) -> Iterator[tuple[str, int]]:
    """Yield what became of the finished trials: one entry a reason, complete ones first."""
    yield "complete, under the ceiling", counts.feasible
    yield "complete, over the ceiling", counts.complete - counts.feasible
    for ending, reasons in (("pruned", counts.pruned_by_reason), ("failed", counts.failed_by_reason)):
        for reason, number in reasons.items():
            yield f"{ending}: {printable(reason)}", number


def _indented(table: Any) -> str:
    return json.dumps(table, indent=2, ensure_ascii=False)


def _asset(name: str) -> str:
    return files("search.report").joinpath("assets", name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    """Return a script's hash as a content security policy wants it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
