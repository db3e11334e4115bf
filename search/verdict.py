"""What a report says in sentences: whether the goal is met, what to change, what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from search.summary import bound, figures, percent, rate, shortfall
from trainers.config import METRIC_NAMES


def verdict(summary: dict[str, Any]) -> str:
    """Say whether the goal is met, by which trial, and else what is missing."""
    goal, best, nearest = (summary[k] for k in ("goal", "best", "nearest"))
    wanted, ceiling = bound(goal["validation_accuracy"]), bound(goal["training_accuracy"])
    name = METRIC_NAMES[summary["metric"]]
    text = f"Goal: validation {name} >= {wanted}, training < {ceiling}: "
    if goal["met"]:
        return f"{text}met by {figures(summary['trials'][goal['trial']])}."
    if not nearest:
        return f"{text}not met. No trial has completed yet."
    short, above = shortfall(nearest, goal)
    missing = [f"{percent(short, unit='')} points short"] if short > 0 else []
    missing += [f"{percent(above, unit='')} points over the ceiling"] if above >= 0 else []
    text += "not met; nearest is " if best else "not met. No trial stayed under the ceiling. Nearest is "
    text += f"{figures(nearest)} ({' and '.join(missing)})"
    if best and best["number"] != nearest["number"]:
        text += f"; best under the ceiling is {figures(best)}"
    return f"{text}."


def advice(summary: dict[str, Any]) -> str:
    """Say what to change, going by the trial that came nearest."""
    nearest = summary["nearest"]
    if not nearest:
        return "What to do: let the search go on; a report needs a trial that ran to its end."
    remedy = "freeze fewer layers, raise the learning rate or the patience, lower dropout"
    if shortfall(nearest, summary["goal"])[1] >= 0:
        remedy = "raise dropout, freeze more layers, lower the learning rate or the patience"
    s = nearest["settings"]
    return (
        f"What to do: more trials, or other ranges in the study's TOML file: {remedy}. Trial {nearest['number']} "
        f"had dropout {s['dropout']:.3g}, freeze depth {s['freeze_depth']}, learning rate "
        f"{rate(s['learning_rate'])}."
    )


def next_commands(summary: dict[str, Any], options: str) -> Iterable[tuple[str, str]]:
    """Yield what to do next, and the command that does it.

    Args:
        summary: Of the study.
        options: With which a command finds the study again.
    """
    yield "look at it", f"python -m search.dashboard {options}"
    if summary["best"] and not summary["confirmation"]:
        yield "confirm it", f"python -m search.confirm {options}"
    if summary["best"]:
        yield "keep the winner", f"python -m search.export {options}"
    more = (summary["counts"]["finished"] // 25 + 1) * 25
    yield "search on", f"python -m search.run {options} --trials {more}"
    missing = [entry["recipe"] for entry in summary["recipes"] if entry["trial"] is None]
    if missing:
        yield f"add {missing[0]}", f"python -m search.run {options} --trials {more} --recipes all"
