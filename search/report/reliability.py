"""How far a confirmed winner's probabilities can be believed: in a sentence, and as a curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from search.report.plotting import MUTED, TRAINING, VALIDATION, blank
from search.study import percent
from trainers.errors import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.analysis import Outcome, ReliabilityCurve, SplitCalibrated


def believed(found: Outcome) -> Iterator[str]:
    """Say what the winner's probabilities are worth before and after its temperature; nothing if nobody looked."""
    calibration = found.calibration
    if calibration is None:
        return

    def of(error: Callable[[SplitCalibrated], float | None]) -> str:
        return " and ".join(f"{percent(error(s))} on {name}" for name, s in calibration.splits.items())

    seed = next((row.test.seed for row in found.finalists if row.name == found.winner and row.test), None)
    yield (
        f"Probabilities of the winner's fit with seed {seed}, the one that an export gives: expected calibration error "
        f"{of(lambda s: s.before.error)}; right ones would show about {of(lambda s: s.before.by_chance)}."
    )
    if calibration.reason is not None:
        yield f"They are left as they are: {printable(calibration.reason)}."
    else:
        yield (
            f"With its logits divided by {calibration.temperature:g}, the temperature that validation calls for: "
            f"{of(lambda s: s.after.error)}."
        )


def reliability_figure(split: SplitCalibrated, *, is_scaled: bool) -> go.Figure:
    """Draw the share that is right over the probability, before and after the temperature, where there is one.

    Args:
        split: Of the calibration.
        is_scaled: Whether there is one.
    """
    figure = blank("probability", "share that is right", shares="xy", height=340)
    curves = [("before" if is_scaled else "as fitted", split.before, TRAINING, "dot", "circle-open")]
    if is_scaled:
        curves.append(("after", split.after, VALIDATION, "solid", "circle"))
    x = [c for _, curve, *_ in curves for c in curve.confidences]
    y = [a for _, curve, *_ in curves for a in curve.accuracies]
    figure.update_xaxes(range=[max(-0.01, min(x, default=0) - 0.04), 1.01])
    figure.update_yaxes(range=[max(-0.01, min(*x, *y, 1.0) - 0.05), 1.03])
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="right",
        line={"color": MUTED, "width": 1.2, "dash": "dash"},
        hoverinfo="skip",
    )
    for name, curve, color, dash, symbol in curves:
        figure.add_scatter(
            x=curve.confidences,
            y=curve.accuracies,
            mode="lines+markers",
            name=name,
            line={"color": color, "width": 2, "dash": dash},
            marker={"color": color, "size": 7, "symbol": symbol},
            hovertext=_bins(curve, name),
            hovertemplate="%{hovertext}<extra></extra>",
        )
    return figure


def _bins(curve: ReliabilityCurve, name: str) -> list[str]:
    return [
        f"{name}: {count:,} answers<br>probability {percent(confidence)}<br>right {percent(accuracy)}"
        for count, confidence, accuracy in zip(curve.counts, curve.confidences, curve.accuracies, strict=True)
    ]
