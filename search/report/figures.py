"""Figures of a report, interactive: what ``summarise`` says of a study -> plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.report.plotting import (
    BEST,
    FAINT,
    GAP,
    INK,
    MUTED,
    OVER,
    RECIPE,
    TRAINING,
    VALIDATION,
    add_ceiling,
    add_lines,
    add_points,
    blank,
    describe_checkpoint,
    describe_trial,
    safe,
    show_equal,
    words,
)
from search.study import bound
from trainers.config import METRIC_NAMES

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.analysis import Checkpoint
    from search.report.models import Summary, TrialRow

_GROUPS = (
    ("pruned or failed", ("pruned", "fail"), FAINT),
    ("complete or running", ("complete", "running"), MUTED),
)
"""How trials other than the best are told apart where each is a line."""


def pareto_figure(summary: Summary) -> go.Figure:
    """Draw validation over training accuracy: checkpoints, trials, the front over both, ceiling and goal."""
    goal, ceiling = summary.goal.validation_accuracy, summary.goal.training_accuracy
    name = METRIC_NAMES[summary.metric]
    figure = blank(f"training {name}", f"validation {name}", shares="xy", height=520)
    restored = [r for r in summary.checkpoints if r.restored]
    others = [r for r in summary.checkpoints if not r.restored]
    front = sorted(summary.checkpoint_front, key=lambda r: r.training_accuracy)
    # What lies far below says little, and would press together what matters; it is there for who zooms out.
    shown = restored + front
    x = [r.training_accuracy for r in shown] + [ceiling]
    y = [r.validation_accuracy for r in shown] + [goal]
    left, bottom = min(x) - 0.04, min(y) - 0.02
    figure.update_xaxes(range=[left, min(1.005, max(x) + 0.03)])
    figure.update_yaxes(range=[bottom, min(1.005, max(y) + 0.03)])
    corners = {"x0": -1.0, "x1": ceiling, "y0": goal, "y1": 2.0}
    figure.add_shape(type="rect", fillcolor=BEST, opacity=0.12, line_width=0, layer="below", **corners)
    add_ceiling(figure, ceiling, axis="x", label=f"ceiling {bound(ceiling)} ")
    figure.add_annotation(
        text=f"goal: {bound(goal)} or more",
        showarrow=False,
        font={"color": BEST},
        x=0.005,
        xref="paper",
        xanchor="left",
        y=goal,
        yanchor="bottom",
    )
    figure.add_scatter(
        x=[r.training_accuracy for r in front],
        y=[r.validation_accuracy for r in front],
        mode="lines",
        name="Pareto front",
        line={"color": INK, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
    feasible, over = ([r for r in restored if r.feasible is kind] for kind in (True, False))
    for label, rows, color, symbol, size in (
        ("other checkpoints", others, MUTED, "circle-open", 5),
        ("trials under the ceiling", feasible, VALIDATION, "circle", 8),
        ("trials over it", over, OVER, "x-thin", 8),
        ("other checkpoints on the front", [r for r in front if not r.restored], INK, "square", 6),
    ):
        add_points(figure, label, rows, color=color, symbol=symbol, size=size, say=describe_checkpoint)
    best = summary.shown
    recipes = [e.trial for e in summary.recipes if e.trial and e.trial.state == "complete"]
    recipes = [r for r in recipes if not best or r.number != best.number]
    say, texts = describe_trial, [safe(r.recipe) for r in recipes]
    add_points(figure, "recipes", recipes, color=RECIPE, symbol="diamond", size=10, say=say, texts=texts)
    if best:
        label, texts = ("best" if summary.best else "nearest"), [f"<b>trial {best.number}</b>"]
        add_points(figure, f"{label} trial", [best], color=BEST, symbol="star", size=15, say=say, texts=texts)
    return figure


def learning_curves_figure(summary: Summary) -> go.Figure:
    """Draw validation accuracy by epoch of every trial; of the best one training accuracy and the gap, too."""
    figure = blank("epoch", METRIC_NAMES[summary.metric], shares="y")
    best = summary.shown
    for label, states, color in _GROUPS:
        curves = _curves(summary, states)
        add_lines(figure, label, curves, lambda row: row.validation_accuracy, color=color)
    own = [r for r in summary.checkpoints if best and r.trial == best.number]
    name = f"trial {best.number}" if best else ""
    for split, color, dash in (("validation", VALIDATION, "solid"), ("training", TRAINING, "dot")):
        if own:
            figure.add_scatter(
                x=[r.epoch for r in own],
                y=[getattr(r, f"{split}_accuracy") for r in own],
                mode="lines+markers",
                name=f"{name}, {split}",
                line={"color": color, "width": 3, "dash": dash},
                marker={"size": [12 if r.restored else 6 for r in own], "color": color},
                fill="tonexty" if split == "training" else None,
                fillcolor=GAP,
                hovertext=[describe_checkpoint(r) for r in own],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    add_ceiling(figure, summary.goal.training_accuracy, axis="y")
    drawn = [r.validation_accuracy for r in summary.checkpoints] + [r.training_accuracy for r in own]
    show_equal(figure, [*drawn, summary.goal.training_accuracy], axis="y")
    _show_searched_epochs(figure, summary)
    return figure


def gap_figure(summary: Summary) -> go.Figure:
    """Draw training - validation accuracy by epoch of every trial: where over-fitting begins."""
    figure = blank("epoch", "training - validation", shares="y", height=360)
    best = summary.shown

    def gap(row: Checkpoint) -> float:
        return row.training_accuracy - row.validation_accuracy

    for label, states, color in _GROUPS:
        add_lines(figure, label, _curves(summary, states), gap, color=color)
    if best:
        own = [r for r in summary.checkpoints if r.trial == best.number]
        add_lines(figure, f"trial {best.number}", [own] if own else [], gap, color=BEST, width=3)
    show_equal(figure, [gap(row) for row in summary.checkpoints], axis="y")
    _show_searched_epochs(figure, summary)
    return figure


def importances_figure(summary: Summary) -> go.Figure:
    """Draw how much each setting decided about the score, with intervals; empty where that cannot be told."""
    shares = dict(reversed((summary.importances.shares or {}).items()))
    intervals = [(summary.importances.intervals or {})[name] for name in shares]
    figure = blank("", "", shares="x", height=60 + 36 * len(shares))
    figure.add_bar(
        x=list(shares.values()),
        y=[words(name) for name in shares],
        orientation="h",
        marker={"color": VALIDATION},
        # A share of all trials may lie outside what draws of them give: then its line ends at the bar.
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, i.high - s) for i, s in zip(intervals, shares.values(), strict=True)],
            "arrayminus": [max(0.0, s - i.low) for i, s in zip(intervals, shares.values(), strict=True)],
            "color": INK,
        },
        showlegend=False,
        hovertext=[f"{i.low:.1%} to {i.high:.1%}" for i in intervals],
        hovertemplate="%{y}: %{x:.1%} (%{hovertext})<extra></extra>",
    )
    figure.update_layout(bargap=0.4)
    return figure


def slice_figure(summary: Summary, setting: str) -> go.Figure:
    """Draw validation accuracy over one setting, of every trial that has both."""
    chosen = summary.spec["fit"][setting]
    figure = blank(words(setting), "", shares="y", height=260)
    rows = [
        r for r in summary.trials if r.validation_accuracy is not None and r.settings.get(setting) is not None
    ]
    complete = [r for r in rows if r.state == "complete"]
    feasible, over = ([r for r in complete if r.feasible is kind] for kind in (True, False))
    layers: tuple[tuple[str, Sequence[TrialRow], str, str], ...] = (
        ("pruned", [r for r in rows if r.state == "pruned"], MUTED, "circle-open"),
        ("under the ceiling", feasible, VALIDATION, "circle"),
        ("over it", over, OVER, "x-thin"),
    )
    for label, group, color, symbol in layers:
        given: list[Any] = [r.settings[setting] for r in group]
        figure.add_scatter(
            x=[safe(v) for v in given] if isinstance(chosen, list) else given,
            y=[r.validation_accuracy for r in group],
            mode="markers",
            name=label,
            marker={"color": color, "symbol": symbol, "size": 7, "line": {"width": 1.5, "color": color}},
            hovertext=[describe_trial(r) for r in group],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    if isinstance(chosen, list):
        values = [*chosen, *(r.settings[setting] for r in rows if r.settings[setting] not in chosen)]
        if all(isinstance(value, int | float) for value in values):
            values.sort()  # a recipe's own stands where it belongs
        order = list(dict.fromkeys(safe(value) for value in values))
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif isinstance(chosen, dict) and chosen["log"]:
        figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    elif isinstance(chosen, dict) and isinstance(chosen["low"], int):
        figure.update_xaxes(tickformat="d", dtick=1 if chosen["high"] - chosen["low"] < 12 else None)
    show_equal(figure, [r.validation_accuracy for r in rows], axis="y")
    figure.update_layout(showlegend=False)
    return figure


def hypervolume_figure(summary: Summary) -> go.Figure:
    """Draw the hypervolume of the front after each finished trial; shaded, the window of the outlook."""
    growth = summary.hypervolume
    history = growth.history
    figure = blank("finished trials", "hypervolume", height=300)
    figure.add_scatter(
        x=[e.finished for e in history],
        y=[e.hypervolume for e in history],
        mode="lines",
        line={"color": VALIDATION, "width": 2.5, "shape": "hv"},
        showlegend=False,
        hovertext=[f"trial {e.trial}" for e in history],
        hovertemplate="after %{x} (%{hovertext}): %{y:.4f}<extra></extra>",
    )
    if growth.pays is not None:
        ends = history[-1].finished - growth.window, history[-1].finished
        figure.add_vrect(*ends, fillcolor=MUTED, opacity=0.12, line_width=0, layer="below")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _show_searched_epochs(figure: go.Figure, summary: Summary) -> None:
    """End the axis with the longest trial of the search: a recipe of twenty epochs would press all others together."""
    searched = {t.number for t in summary.trials if t.recipe is None}
    ages = [r.epoch for r in summary.checkpoints if r.trial in searched]
    longest = max(ages or [r.epoch for r in summary.checkpoints], default=0.0) or 1.0
    figure.update_xaxes(range=[-0.02 * longest, 1.04 * longest])  # marks at epoch 0 are seen whole


def _curves(summary: Summary, states: Sequence[str]) -> list[list[Checkpoint]]:
    """Return the checkpoints of each trial in one of the states that has any, by epoch."""
    curves: dict[int, list[Checkpoint]] = {}
    drawn = {row.number for row in summary.trials if row.state in states}
    for row in summary.checkpoints:
        if row.trial in drawn:
            curves.setdefault(row.trial, []).append(row)
    return list(curves.values())
