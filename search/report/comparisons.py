"""Figures that lay setups side by side: recipes against the best trial, and finalists on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.report.plotting import (
    BEST,
    GRID,
    MUTED,
    TRAINING,
    VALIDATION,
    add_ceiling,
    blank,
    safe,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.analysis import ConfirmedFinalist, Figures
    from search.report.models import Summary


def recipes_figure(summary: Summary) -> go.Figure:
    """Draw training beside validation accuracy of each recipe, reported and measured, and of the best trial."""
    rows: list[tuple[str, Figures]] = [
        (f"{safe(entry.recipe)}, {origin}", source)
        for entry in summary.recipes
        for origin, source in (("reported", entry.reported), ("measured", entry.trial))
        if source is not None and source.validation_accuracy is not None
    ]
    if summary.best:
        rows.append((f"<b>trial {summary.best.number}, best here</b>", summary.best))
    rows.reverse()
    figure = blank("", "", shares="x", height=130 + 42 * len(rows))
    names = [name for name, _ in rows]
    figure.add_scatter(
        x=[x for _, r in rows for x in (r.validation_accuracy, r.training_accuracy, None)],
        y=[name for name in names for _ in range(3)],
        mode="lines",
        line={"color": GRID, "width": 6},
        showlegend=False,
        hoverinfo="skip",
    )
    for split, color, symbol in (("validation", VALIDATION, "circle"), ("training", TRAINING, "diamond")):
        figure.add_scatter(
            x=[getattr(r, f"{split}_accuracy") for _, r in rows],
            y=names,
            mode="markers",
            name=split,
            marker={"color": color, "symbol": symbol, "size": 12},
            hovertemplate=f"%{{y}}<br>{split} %{{x:.2%}}<extra></extra>",
        )
    add_ceiling(figure, summary.goal.training_accuracy, axis="x")
    figure.update_layout(legend_y=-0.12 if len(rows) > 4 else -0.25)
    return figure


def confirmation_figure(summary: Summary) -> go.Figure:
    """Draw of each finalist what the search promised, what fresh seeds gave, and what the test split says."""
    finalists = summary.confirmation.finalists[::-1] if summary.confirmation else []
    names = [safe(f.name) for f in finalists]
    figure = blank("", "", shares="x", height=150 + 60 * len(finalists))
    promised = [f.search.validation_accuracy if f.search else None for f in finalists]
    means = [f.validation.mean for f in finalists]
    spread = {"type": "data", "array": [f.validation.spread or 0.0 for f in finalists]}
    tests = [f.test for f in finalists]
    interval = {
        "type": "data",
        "symmetric": False,
        "array": [t.high - t.accuracy if t and t.high is not None else None for t in tests],
        "arrayminus": [t.accuracy - t.low if t and t.low is not None else None for t in tests],
    }
    for name, x, color, symbol, error in (
        ("validation in the search", promised, MUTED, "circle-open", None),
        ("validation on fresh seeds, mean ± spread", means, VALIDATION, "circle", spread),
        (
            "test, mean with its interval",
            [t.accuracy if t else None for t in tests],
            BEST,
            "diamond",
            interval,
        ),
    ):
        figure.add_scatter(
            x=x,
            y=names,
            mode="markers",
            orientation="h",  # marks of a finalist stand one above the other; else equal ones are moved along the figures
            name=name,
            marker={"color": color, "symbol": symbol, "size": 11},
            error_x=error and {**error, "color": color},
            hovertemplate=f"%{{y}}<br>{name.partition(',')[0]} %{{x:.2%}}<extra></extra>",
        )
    figure.update_layout(scattermode="group", scattergap=0.5)
    _show_all(figure, finalists)
    return figure


def _show_all(figure: go.Figure, finalists: Sequence[ConfirmedFinalist]) -> None:
    """Set the axis around all figures and intervals: marks in groups would draw it from 0 on."""
    shares: list[float | None] = []
    for finalist in finalists:
        mean, spread, test = finalist.validation.mean, finalist.validation.spread or 0.0, finalist.test
        shares += [finalist.search.validation_accuracy] if finalist.search else []
        shares += [] if mean is None else [mean - spread, mean + spread]
        shares += [test.accuracy, test.low, test.high] if test else []
    known = [share for share in shares if share is not None]
    if known:
        margin = max(0.01, 0.05 * (max(known) - min(known)))
        figure.update_xaxes(range=[min(known) - margin, max(known) + margin])
