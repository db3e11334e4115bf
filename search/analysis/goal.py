"""Whether a study's goal is met, and who says so: the search, or fresh seeds once there are any."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

ROUNDING = 1e-9


def shortfall(row: dict[str, Any], goal: dict[str, Any]) -> tuple[float, float]:
    """Return how far validation accuracy is below its goal, and training accuracy above the ceiling."""
    short = goal["validation_accuracy"] - row["validation_accuracy"]
    return short, row["training_accuracy"] - goal["training_accuracy"]


def judge(
    complete: Sequence[dict[str, Any]], confirmation: dict[str, Any] | None, aim: dict[str, float]
) -> dict[str, Any]:
    """Return what ``report.json`` says of the goal.

    The search's figure is the best of many tries. Where a confirmation has measured its winner on fresh seeds, that
    decides, whatever the search said.

    Args:
        complete: Rows of the complete trials.
        confirmation: What ``search.analysis.outcome.confirmation_of`` says; None before there is one.
        aim: ``validation_accuracy`` to reach, ``training_accuracy`` to stay under.
    """
    met = [row for row in complete if row["feasible"] and meets(row, aim)]
    best = max(met, key=lambda row: (row["value"], -row["number"]), default=None)
    found = {"met": best is not None, "trial": best and best["number"]}
    fresh = confirmation and _judge_fresh(confirmation, aim)
    decides = fresh or found
    return aim | {
        "met": decides["met"],
        "judged_by": "confirmation" if fresh else "search",
        "trial": decides["trial"] if decides["met"] else None,
        "in_search": found,
        "on_fresh_seeds": fresh or None,
    }


def judge_setup(finalist: dict[str, Any], aim: dict[str, float]) -> dict[str, Any]:
    """Judge a setup by its fits on fresh seeds: their mean reaches the goal, and most stay under the ceiling.

    A fit that failed did neither.
    """
    ended = [fit for fit in finalist["fits"] if fit["state"] == "complete"]
    validation = [fit["validation_accuracy"] for fit in ended]
    mean = fmean(validation) if validation else None
    under = sum(shortfall(fit, aim)[1] < 0 for fit in ended)
    return {
        "name": finalist["name"],
        "trial": finalist["trial"],
        "met": mean is not None
        and mean >= aim["validation_accuracy"] - ROUNDING
        and under > len(finalist["fits"]) / 2,
        "mean": mean,
        "spread": stdev(validation) if len(validation) > 1 else None,
        "num_fits": len(finalist["fits"]),
        "num_complete": len(ended),
        "num_under_ceiling": under,
        "num_meeting_both": sum(meets(fit, aim) for fit in ended),
    }


def state(goal: dict[str, Any]) -> str:
    """Say in a few words whether the goal is met, and who says so."""
    if goal["judged_by"] == "confirmation":
        return f"{'met' if goal['met'] else 'not met'} on {seeds_of(goal)}"
    return "met in the search" if goal["met"] else "not met"


def seeds_of(goal: dict[str, Any]) -> str:
    """Name what judged the goal: one fresh seed is not several."""
    return "one fresh seed" if goal["on_fresh_seeds"]["num_seeds"] == 1 else "fresh seeds"


def _judge_fresh(confirmation: dict[str, Any], aim: dict[str, float]) -> dict[str, Any]:
    setups = [judge_setup(row, aim) for row in confirmation["finalists"]]
    winner = next((s for s in setups if s["name"] == confirmation["winner"]), None)
    return {
        "met": winner is not None and winner["met"],
        "trial": winner and winner["trial"],
        "num_seeds": max(setup["num_fits"] for setup in setups),
        "winner": winner,
        "others": [s for s in setups if s is not winner and s["met"]],
    }


def meets(figures: dict[str, Any], aim: dict[str, float]) -> bool:
    """Tell whether both accuracies of a trial or a fit are where they shall be."""
    short, above = shortfall(figures, aim)
    return short <= ROUNDING and above < 0
