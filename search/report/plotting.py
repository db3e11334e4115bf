"""How figures look: colours on a light and on a dark page, axes, and what is said of a point.

Every text that comes from the user is escaped: plotly obeys a part of HTML.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from search.study import origin, percent, rate, training_figure
from trainers.errors import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.analysis import Checkpoint
    from search.report.models import TrialRow

Row = TypeVar("Row", bound="Checkpoint | TrialRow")

INK, MUTED, FAINT, GRID = "#1c2733", "#5a6673", "#a9b4c0", "#dfe4e9"
VALIDATION, TRAINING, OVER, BEST, RECIPE = "#1f6fb2", "#a94d08", "#b03a2e", "#117a3d", "#7a5195"
GAP = "rgba(169,77,8,0.18)"
DARK = {
    INK: "#e6e9ee",
    MUTED: "#a3aebb",
    FAINT: "#5f6b79",
    GRID: "#333d4a",
    VALIDATION: "#6cb6f5",
    TRAINING: "#f0975a",
    OVER: "#f08a7e",
    BEST: "#4fce83",
    RECIPE: "#c9a2e6",
    GAP: "rgba(240,151,90,0.22)",
}
"""What each colour becomes on a dark page."""


def blank(x_title: str, y_title: str, *, shares: str = "", height: int = 430) -> go.Figure:
    """Return a figure with axes and nothing in it.

    Args:
        x_title: Under it; may be empty.
        y_title: Beside it; may be empty.
        shares: The axes, of "xy", that show shares as percent.
        height: In pixels.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template=None,
        height=height,
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        hoverlabel={"align": "left"},
    )
    for axis, title in (("x", x_title), ("y", y_title)):
        figure.update_layout(
            {
                f"{axis}axis": {
                    "title": {"text": title, "standoff": 8},
                    "automargin": True,
                    "gridcolor": GRID,
                    "linecolor": MUTED,
                    "zeroline": False,
                    "tickformat": ".4~p" if axis in shares else None,
                }
            }
        )
    return figure


def add_points(
    figure: go.Figure,
    name: str,
    rows: Iterable[Row],
    *,
    color: str,
    symbol: str,
    size: int,
    say: Callable[[Row], str],
    texts: Iterable[str] = (),
) -> None:
    """Add a mark for each row at its training and validation accuracy; nothing if there are none.

    Args:
        figure: To add to.
        name: In the legend.
        rows: Trials or checkpoints.
        color: Of the palette.
        symbol: By which the marks are told apart without colours.
        size: In pixels.
        say: What is said of a row that is pointed at.
        texts: To write beside the marks.
    """
    rows, texts = list(rows), list(texts)
    middle = sum(figure.layout.xaxis.range or (0.0, 1.0)) / 2
    if rows:
        figure.add_scatter(
            x=[r.training_accuracy for r in rows],
            y=[r.validation_accuracy for r in rows],
            mode="markers+text" if texts else "markers",
            name=f"{name} ({len(rows)})" if len(rows) > 1 else name,
            marker={"color": color, "symbol": symbol, "size": size, "line": {"width": 1.5, "color": color}},
            text=texts or None,
            # Where nothing lies beside a point of the front, but not off a narrow figure.
            textposition=[
                "top left" if (r.training_accuracy or 0.0) > middle else "bottom right" for r in rows
            ],
            textfont={"color": color},
            hovertext=[say(r) for r in rows],
            hovertemplate="%{hovertext}<extra></extra>",
        )


def add_ceiling(figure: go.Figure, ceiling: float, *, axis: str, label: str = "") -> None:
    """Draw the ceiling of training accuracy across a figure, upright if it lies on the x axis."""
    line = {"color": OVER, "dash": "dash", "width": 1.5}
    if axis == "x":
        figure.add_vline(ceiling, line=line)
    else:
        figure.add_hline(ceiling, line=line)
    if label:
        place = {"x": ceiling, "y": 0.01, "yref": "paper", "xanchor": "right"}
        figure.add_annotation(text=label, showarrow=False, yanchor="bottom", font={"color": OVER}, **place)


def show_equal(figure: go.Figure, shares: Iterable[float | None], *, axis: str) -> None:
    """Set an axis, "x" or "y", around shares that are all but equal: left alone it would reach from -100 to 200 %."""
    known = [share for share in shares if share is not None]
    if known and max(known) - min(known) < 0.005:
        figure.update_layout({f"{axis}axis": {"range": [min(known) - 0.01, max(known) + 0.01]}})


def add_lines(
    figure: go.Figure,
    name: str,
    curves: Iterable[list[Checkpoint]],
    height: Callable[[Checkpoint], float],
    *,
    color: str,
    width: float = 1.2,
) -> None:
    """Add one line a trial over its epochs, all of them as one entry of the legend; nothing if there are none."""
    curves = list(curves)
    rows = [row for curve in curves for row in (*curve, None)]
    if rows:
        figure.add_scatter(
            x=[row and row.epoch for row in rows],
            y=[row and height(row) for row in rows],
            mode="lines+markers",
            name=f"{name} ({len(curves)})" if len(curves) > 1 else name,
            line={"color": color, "width": width},
            marker={"size": 2 + 2 * width, "color": color},
            connectgaps=False,
            hovertext=[describe_checkpoint(row) if row else "" for row in rows],
            hovertemplate="%{hovertext}<extra></extra>",
        )


def describe_checkpoint(row: Checkpoint) -> str:
    """Say which epoch of which trial a checkpoint is, and what it reaches."""
    restored = ", restored" if row.restored else ""
    return (
        f"trial {row.trial}, epoch {row.epoch:.4g}{restored}<br>validation {_validation(row)}<br>training "
        f"{training_figure(row.training_accuracy, exact=row.exact, interval=row.training_interval)}"
    )


def _validation(row: Checkpoint | TrialRow) -> str:
    """Write a validation accuracy; what was seen on a sample with ~ and its size."""
    count = row.num_validation_texts
    figure = percent(row.validation_accuracy)
    return figure if count is None else f"~{figure} ({count} texts)"


def describe_trial(row: TrialRow) -> str:
    """Say what a trial reached, and with which settings."""
    given = row.recipe or origin({"start": row.start})
    named = f" ({safe(given)})" if given else ""
    lines = [
        f"trial {row.number}{named}",
        f"validation {_validation(row)}",
        "training "
        + training_figure(row.training_accuracy, exact=row.training_exact, interval=row.training_interval),
        *(f"{words(key)} {safe(written(value))}" for key, value in row.settings.items()),
    ]
    return "<br>".join(lines)


def safe(text: object) -> str:
    """Write a text on one line in which plotly finds no markup."""
    return html.escape(printable(text))


def words(key: str) -> str:
    """Turn the key of a setting into words."""
    return safe(key.replace("_", " "))


def written(value: object) -> str:
    """Write a setting shortly; one that a trial does not have is a dash."""
    if isinstance(value, float):
        return rate(value) if 0 < value < 0.01 else f"{value:.3g}"
    return "-" if value is None else str(value)
