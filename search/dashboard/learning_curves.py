"""Learning curves: of one trial as a PNG, of all trials as a plotly figure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from search.study import attributes as attr, bound, percent, training_figure
from trainers.config import METRIC_NAMES

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.study import StudySpec

BLUE, RED, GREY = "#1f6fb2", "#b03a2e", "#9a9a9a"


def curve_picture(trial: FrozenTrial, spec: StudySpec) -> bytes:
    """Draw a complete trial's accuracies and validation loss over epochs as a PNG.

    The gap between training and validation, the ceiling and the restored epoch are marked; there, the
    training accuracy is the exact one.
    """
    from search.report import keep_fonts

    keep_fonts()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.6), dpi=100, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    _draw_accuracies(upper, trial, spec)
    _draw_loss(lower, trial)
    for axes in (upper, lower):
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvline(trial.user_attrs[attr.BEST_EPOCH], color="0.5", linestyle=":", linewidth=1.2)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def curves_figure(study: Study, spec: StudySpec) -> go.Figure:
    """Draw the validation accuracy of all trials over epochs; the best one with its training accuracy, too."""
    import plotly.graph_objects as go

    from search.study import results

    trials = study.get_trials(deepcopy=False)
    complete = results.complete(trials)
    best = results.best_feasible(trials) or results.nearest_to_feasible(trials)
    name = METRIC_NAMES[spec.score.metric]
    figure = go.Figure()
    for label, group, color in (
        ("pruned", [t for t in trials if t.state.name == "PRUNED"], GREY),
        ("infeasible", [t for t in complete if not results.is_feasible(t)], RED),
        ("feasible", [t for t in complete if results.is_feasible(t)], BLUE),
    ):
        lines = [(t, [*_looks(t, peeks=True), None]) for t in group]  # None parts the trials of one trace
        points = [(t, look) for t, looks in lines for look in looks]
        figure.add_scatter(
            x=[look and look["epoch"] for _, look in points],
            y=[look and look["validation_accuracy"] for _, look in points],
            mode="lines+markers",
            name=f"{label} ({len(group)})",
            line={"color": color, "width": 1},
            marker={"size": 4},
            opacity=0.7,
            hovertext=[_told(t, look) if look else "" for t, look in points],
            hoverinfo="text",
        )
    if best:
        looks = _looks(best)
        for key, dash in (("training_accuracy", "dash"), ("validation_accuracy", "solid")):
            figure.add_scatter(
                x=[look["epoch"] for look in looks],
                y=[look[key] for look in looks],
                mode="lines+markers",
                name=f"trial {best.number}, {key.partition('_')[0]}",
                line={"color": "#117a3d", "width": 3, "dash": dash},
                hovertext=[_told(best, look) for look in looks],
                hoverinfo="text",
            )
    figure.add_hline(
        y=spec.score.ceiling,
        line={"color": RED, "dash": "dash"},
        annotation={"text": f"ceiling for training {name}: {bound(spec.score.ceiling)}"},
    )
    figure.update_layout(
        template=None,
        title={"text": f"Learning curves: validation {name}", "x": 0.02},
        xaxis={"title": "epoch", "type": "log"},  # recipes may be ten times as long as the rest
        yaxis={"title": name, "tickformat": ".1~%"},
        legend={"orientation": "h", "y": -0.25},
        margin={"t": 60, "r": 20},
    )
    return figure


def _draw_accuracies(axes: Axes, trial: FrozenTrial, spec: StudySpec) -> None:
    attrs, name = trial.user_attrs, METRIC_NAMES[spec.score.metric]
    looks = _looks(trial)
    epochs = [look["epoch"] for look in looks]
    training, validation = (
        [100 * look[f"{split}_accuracy"] for look in looks] for split in ("training", "validation")
    )
    axes.fill_between(epochs, validation, training, color="0.92", label="gap")
    axes.plot(epochs, training, "s--", color=RED, markersize=4, label="training")
    axes.plot(epochs, validation, "o-", color=BLUE, markersize=4, label="validation")
    axes.axhline(100 * spec.score.ceiling, color=RED, linestyle="-.", linewidth=1, label="ceiling (training)")
    gap = 100 * (attrs[attr.TRAINING_ACCURACY] - attrs[attr.VALIDATION_ACCURACY])
    recipe = f" ({attrs[attr.RECIPE]})" if attr.RECIPE in attrs else ""
    axes.set_title(
        f"Trial {trial.number}{recipe}: epoch {attrs[attr.BEST_EPOCH]:.4g} restored, validation "
        f"{percent(attrs[attr.VALIDATION_ACCURACY])}, training "
        f"{training_figure(attrs[attr.TRAINING_ACCURACY], exact=attrs.get(attr.TRAINING_EXACT))}, gap {gap:.2f} points"
        + (
            f"\n(means of {len(attrs[attr.FOLDS])} folds; curves of the first)" if attr.FOLDS in attrs else ""
        ),
        loc="left",
        fontsize="medium",
        parse_math=False,  # a recipe's name may hold $
    )
    axes.set_ylabel(f"{name} / %")


def _draw_loss(axes: Axes, trial: FrozenTrial) -> None:
    looks = _looks(trial)
    axes.plot(
        [look["epoch"] for look in looks],
        [look["validation_loss"] for look in looks],
        "o-",
        color=BLUE,
        markersize=4,
        label="validation",
    )
    axes.plot([], [], ":", color="0.5", label="restored epoch")
    axes.set(xlabel="epoch", ylabel="loss / nats")


def _looks(trial: FrozenTrial, *, peeks: bool = False) -> list[dict[str, Any]]:
    """Return a trial's evaluations, with the exact figures where they are known; of one over folds, the first one's."""
    from search.study import looks

    attrs = trial.user_attrs
    exact: dict[str, Any] = {
        k: attrs[k] for k in (attr.TRAINING_ACCURACY, attr.VALIDATION_ACCURACY) if k in attrs
    }
    return [
        {**e, **exact, "exact": attrs.get(attr.TRAINING_EXACT, True), "num_validation_texts": None}
        if trial.state.name == "COMPLETE"
        and attr.FOLDS not in attrs
        and e["epoch"] == attrs[attr.BEST_EPOCH]
        and not e["peek"]
        else e
        for e in looks(trial)
        if peeks or not e["peek"]
    ]


def _told(trial: FrozenTrial, look: dict[str, Any]) -> str:
    about = "" if look["exact"] or look["training_accuracy"] is None else "about "
    count = look.get("num_validation_texts")
    texts = "" if count is None else f" ({count} texts)"
    return (
        f"trial {trial.number}, epoch {look['epoch']:.4g}{' (a peek)' if look['peek'] else ''}<br>"
        f"validation {percent(look['validation_accuracy'])}{texts}<br>training {about}{percent(look['training_accuracy'])}"
    )
