"""What the dashboard says in words, and its picture of the Pareto front."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from search.study import attributes as attr
from trainers.config import METRIC_NAMES
from trainers.errors import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.analysis import Importances
    from search.study import StudySpec

OWN_NOTE = "*Renewed as trials end; delete this line to keep words of your own.*"
ENDED_BECAUSE = {
    "patience": "validation loss had not fallen for as long as its patience allows",
    "ceiling": "its training figure went above the ceiling",
    "epochs": "it had used all its epochs",
}


def study_note(study: Study, spec: StudySpec, *, options: str | None = None) -> str:
    """Say in Markdown what a study is after, what it searches, how far it got and how to go on.

    Args:
        study: Finished or running.
        spec: What the study was asked for.
        options: With which a command finds the study again; absent means ``--study NAME``.
    """
    from search.analysis import state
    from search.report import asks_for_little, falls_short, judgement, next_commands, summarise, worth_of
    from search.study import describe_counts, results

    trials = study.get_trials(deepcopy=False)
    summary = summarise(study, spec)
    counts, best = summary.counts, results.best_feasible(trials)
    shown = best or results.nearest_to_feasible(trials)
    missing = "No trial is feasible yet; nearest to it" if shown else "No trial has run to its end yet"
    headline = "Best feasible trial" if best else missing
    goal, ceiling = spec.goal.validation_accuracy, spec.score.ceiling
    name = METRIC_NAMES[spec.score.metric]
    searched = [
        f"{_words(k)} {_choices(v)}"
        for k, v in spec.fit.items()
        if not isinstance(v, int | float | str | dict)
    ]
    options = printable(options or f"--study {spec.name}")
    commands = [
        command for _, command in next_commands(summary, options) if "dashboard" not in command.split()[2]
    ]
    paragraphs = [
        f"**Goal** ({state(summary.goal)}): validation {name} of {100 * goal:g} % or more, "
        f"training {name} under the ceiling of {100 * ceiling:g} %.",
        *([f"**Confirmed**: {_plain(judgement(summary))}."] if summary.confirmation else []),
        *([f"**{_plain(little)}**"] if (little := asks_for_little(summary)) else []),
        *([f"**{_plain(short)}**"] if (short := falls_short(summary.opponents)) else []),
        "**Worth it?** " + "; ".join(f"{name}: {_plain(said)}" for name, said in worth_of(summary)) + ".",
        f"**Searched**: {_plain('; '.join(searched))}.",
        f"**{headline}**",
        *([trial_note(shown, spec)] if shown else []),
        f"**Trials**: {counts.finished} finished: {_plain(describe_counts(counts))}.",
        *([_plain(summary.flat.sentence)] if summary.flat else []),
        *([_plain(" ".join(summary.start))] if summary.start else []),
        f"**Which setting mattered** {_importances(summary.importances)}",
        "**Next**:",
        "\n".join(f"    {command}" for command in commands),
        OWN_NOTE,
    ]
    return "\n\n".join(paragraphs)


def front_note(spec: StudySpec) -> str:
    """Say in Markdown what the study of two objectives is that shows a study's Pareto front."""
    name = METRIC_NAMES[spec.score.metric]
    return "\n\n".join(
        (
            f"**Pareto front of study {_plain(spec.name)}**: each point is one evaluated epoch of a complete or pruned "
            f"trial, training {name} down, validation {name} up.",
            "Click a point to see, among its user attributes, which `epoch` of which `trial` it is, and whether its "
            "weights were `restored`.",
            f"Infeasible points, over the ceiling of {100 * spec.score.ceiling:g} %, are grey and not on the front.",
            "search.dashboard keeps this study in step, and makes it again if it is deleted.",
            OWN_NOTE,
        )
    )


def trial_note(trial: FrozenTrial, spec: StudySpec) -> str:
    """Say in Markdown what a finished trial was, what it reached, and why it ended."""
    from search.study import Ending, Reason, excess, notes, origin, percent, reason_of, training_kind

    attrs = notes(trial)
    metric, kind = METRIC_NAMES[spec.score.metric], training_kind(trial)
    name = f" ({_plain(origin(attrs))})" if origin(attrs) else ""
    again = f" repeats trial {_plain(attrs[attr.RETRY_OF])}" if attr.RETRY_OF in attrs else ""
    paragraphs = [f"Trial {trial.number}{name}{again}: {_plain(_settings(trial))}."]
    if kind == "not measured":
        paragraphs.append(
            f"It reached {percent(attrs[attr.VALIDATION_ACCURACY])} validation {metric} at its latest peek, which looks "
            f"at a sample of the validation texts and at no training text: training {metric} was not measured."
        )
    elif trial.constraints:
        points, about = 100 * excess(trial), "about " if kind == "estimate" else ""
        side = "**infeasible**, {:.2f} points over" if points > 0 else "**feasible**, {:.2f} points under"
        paragraphs.append(
            f"It reached {percent(attrs.get(attr.VALIDATION_ACCURACY))} validation at {about}"
            f"{percent(attrs.get(attr.TRAINING_ACCURACY))} training {metric}{_over_folds(trial, spec)}: "
            f"{side.format(abs(points))} the ceiling of "
            f"{100 * spec.score.ceiling:g} %."
        )
    reason = reason_of(trial) or Reason(Ending.OTHER, "no reason was recorded")
    ended = {"PRUNED": "was pruned: ", "FAIL": "failed: "}.get(trial.state.name, "ended because ")
    paragraphs.append(f"It {ended}{_plain(ENDED_BECAUSE.get(reason.ending, reason.text))}.")
    return "\n\n".join(paragraphs)  # short lines: the page of a trial is wide and scrolls sideways


def pareto_figure(study: Study, spec: StudySpec) -> go.Figure:
    """Draw validation over training accuracy: what is feasible, the ceiling, the front, the recipes."""
    import plotly.graph_objects as go

    from search.study import results

    trials = results.complete(study.get_trials(deepcopy=False))
    feasible = [t for t in trials if results.is_feasible(t)]
    infeasible = [t for t in trials if not results.is_feasible(t)]
    figure = go.Figure()
    for name, group, mode, symbol, color in (
        ("Pareto front", results.pareto_front(trials), "lines", None, "#777777"),
        ("infeasible", infeasible, "markers+text", "x", "#b03a2e"),
        ("feasible", feasible, "markers+text", "circle", "#1f6fb2"),
    ):
        figure.add_scatter(
            x=[t.user_attrs[attr.TRAINING_ACCURACY] for t in group],
            y=[t.user_attrs[attr.VALIDATION_ACCURACY] for t in group],
            mode=mode,
            name=f"{name} ({len(group)})",
            marker={"symbol": symbol, "color": color, "size": 9},
            line={"color": color, "shape": "vh"},
            text=[html.escape(str(t.user_attrs.get(attr.RECIPE, ""))) for t in group],
            textposition="top left",  # where nothing lies beside a trial on the front
            hovertext=[html.escape(f"trial {t.number}, {_settings(t)}").replace(", ", "<br>") for t in group],
            hovertemplate="%{hovertext}<br>validation %{y:.2%}<br>training %{x:.2%}<extra></extra>",
        )
    ceiling, name = spec.score.ceiling, METRIC_NAMES[spec.score.metric]
    widths = [t.user_attrs[attr.TRAINING_ACCURACY] for t in trials] + [ceiling]
    heights = [t.user_attrs[attr.VALIDATION_ACCURACY] for t in trials] + [spec.goal.validation_accuracy]
    room = 0.01 + 0.35 * (max(widths) - min(widths))  # for the names of recipes
    figure.add_scatter(
        x=[ceiling, ceiling],
        y=[min(heights), max(heights)],
        mode="lines",
        name=f"ceiling {100 * ceiling:g} %",
        line={"color": "#b03a2e", "dash": "dash"},
        hoverinfo="skip",
    )
    figure.update_layout(
        template=None,
        title={"text": f"Validation over training {name}", "x": 0.02},
        xaxis={"title": f"training {name}", "range": [min(widths) - room, max(widths) + room]},
        xaxis_tickformat=".1~%",
        yaxis={"title": f"validation {name}", "tickformat": ".1~%"},
        legend={"orientation": "h", "y": -0.25},
        margin={"t": 60, "r": 20},
    )
    return figure


def _over_folds(trial: FrozenTrial, spec: StudySpec) -> str:
    """Say over how many folds the figures of a trial are means; nothing where there are none."""
    done = len(trial.user_attrs.get(attr.FOLDS, ()))
    if not done:
        return ""
    return f", {'on' if done == 1 else 'means of'} {done} of {spec.data.folds} folds"


def _settings(trial: FrozenTrial) -> str:
    """Name what a trial searched, or what its recipe fixed of it."""
    from search.study import SEARCHED

    chosen = {
        **trial.params,
        **trial.user_attrs.get(attr.CONFIG, {}),
    }  # what ran, where a recipe overrules the sampler
    return ", ".join(
        f"{_words(k)} {_short(chosen.get(k, 'none'))}" for k in dict.fromkeys((*SEARCHED, *trial.params))
    )


def _importances(found: Importances) -> str:
    """Say which settings mattered, or that this page's plot of it is to be left alone."""
    if found.shares is None:
        return (
            f"cannot be told: {_plain(found.missing)}. This page draws importances from two trials on: do not go "
            "by them."
        )
    shares = [
        f"{_words(name)} {100 * share:.0f} % ({100 * end.low:.0f} to {100 * end.high:.0f})"
        for (name, share), end in zip(found.shares.items(), (found.intervals or {}).values(), strict=True)
    ]
    return (
        f"(share of the score's variation over {found.trials} complete trials, with {100 * found.confidence:g} % "
        f"intervals, which this page's plot lacks): {_plain(', '.join(shares))}."
    )


def _choices(setting: Any) -> str:
    if isinstance(setting, list):
        return ", ".join(map(_short, setting))
    return f"{_short(setting.low)} to {_short(setting.high)}{' (log)' if setting.log else ''}"


def _short(value: object) -> str:
    from search.study import rate

    if not isinstance(value, float):
        return str(value)
    return rate(value) if 0 < value < 0.01 else f"{value:.3g}"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(text: object) -> str:
    """Write a text on one line in which neither Markdown nor HTML finds anything to obey."""
    one_line = html.escape(printable(text), quote=False)
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", one_line)
