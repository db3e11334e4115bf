"""The Pareto front as a PNG: validation over training accuracy, the ceiling drawn."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.study import bound, figures
from trainers.config import METRIC_NAMES
from trainers.errors import printable
from trainers.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from search.report.models import Summary, TrialRow


def write_pareto_picture(summary: Summary, path: Path) -> None:
    """Write a PNG of validation over training accuracy: trials, recipes, ceiling, goal and Pareto front.

    Args:
        summary: What ``search.report.summary.summarise`` says of the study.
        path: Of the PNG.

    Raises:
        InputError: The file cannot be written.
    """
    keep_fonts()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.4), dpi=160, layout="constrained")
    _draw(figure.subplots(), summary)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())


def keep_fonts() -> None:
    """Let matplotlib keep its list of fonts with our cache where the home folder cannot be written.

    Else each process makes the list again, and warns of it.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path's own raises where there is none
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    can_write = any(place.is_dir() and os.access(place, os.W_OK) for place in (config, home))
    if "MPLCONFIGDIR" not in os.environ and not can_write:
        from trainers.fit import default_cache_directory

        os.environ["MPLCONFIGDIR"] = str(default_cache_directory() / "matplotlib")


def _draw(axes: Axes, summary: Summary) -> None:
    goal, ceiling = summary.goal.validation_accuracy, summary.goal.training_accuracy
    complete = [r for r in summary.trials if r.state == "complete"]
    x, y = [r.point[0] for r in complete], [r.point[1] for r in complete]
    left, right = min([*x, ceiling - 0.08]) - 0.01, min(1.005, max([*x, ceiling]) + 0.015)
    bottom, top = min([*y, goal - 0.05]) - 0.01, min(1.005, max([*y, goal]) + 0.025)
    name = METRIC_NAMES[summary.metric]
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=f"training {name}", ylabel=f"validation {name}")
    axes.set_title(f"Study {summary.study}: {len(complete)} complete trials", loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    wanted = f"goal: validation ≥ {bound(goal)}" + (f", training < {bound(ceiling)}" if ceiling < 1 else "")
    axes.fill_between([left, ceiling], goal, 1.01, color="#d5eed9", linewidth=0, zorder=0.5, label=wanted)
    axes.axvline(ceiling, color="#b03a2e", linestyle="--", linewidth=1.3, label=f"ceiling {bound(ceiling)}")
    front = sorted(r.point for r in summary.pareto)
    if front:
        axes.plot(*zip(*front, strict=True), "0.35", lw=1.2, ds="steps-post", zorder=2, label="Pareto front")
    under, over = ([r for r in complete if r.feasible is kind] for kind in (True, False))
    recipes = [e.trial for e in summary.recipes if e.trial and e.trial.state == "complete"]
    star, kind = (summary.best, "best") if summary.best else (summary.nearest, "nearest")
    blue, red, orange, green = "#1f6fb2", "#b03a2e", "#d9820a", "#117a3d"
    layers: tuple[tuple[Sequence[TrialRow], str, dict[str, Any]], ...] = (
        (under, f"under the ceiling ({len(under)})", {"s": 34, "color": blue}),
        (over, f"over the ceiling ({len(over)})", {"s": 34, "facecolor": "white", "edgecolor": red}),
        (recipes, "known recipes", {"s": 52, "marker": "D", "color": orange}),
        ([star] if star else [], f"{kind} trial", {"s": 190, "marker": "*", "color": green}),
    )
    for height, (rows, label, style) in enumerate(layers, start=3):
        if rows:
            points = [r.point for r in rows]
            axes.scatter(*zip(*points, strict=True), label=label, zorder=height, **style)
    recipes.sort(key=lambda r: r.point[1])
    for place, row in enumerate(recipes):
        if not star or row.number != star.number:
            _label(axes, row, row.recipe or "", "#a86200", lift=6 if place else -6)
    if star:
        name = f" ({printable(star.recipe)})" if star.recipe else ""
        _label(axes, star, f"{kind}{name} is {figures(star)}", "#0c5c2d", lift=9)


def _label(axes: Axes, row: TrialRow, text: str, color: str, *, lift: int) -> None:
    """Write beside a point, towards the middle of the picture, under the points but over the lines."""
    x, y = row.point
    at_right = x > sum(axes.get_xlim()) / 2
    place: dict[str, Any] = {"ha": "right" if at_right else "left", "va": "bottom" if lift > 0 else "top"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    offset = (-4 if at_right else 4, lift)
    # A name may hold $, which is no formula.
    axes.annotate(
        text,
        (x, y),
        offset,
        textcoords="offset points",
        color=color,
        zorder=2.5,
        bbox=box,
        parse_math=False,
        **place,
    )
