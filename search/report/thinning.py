"""What a page shows of a long search: so much that a browser opens it."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.analysis import Growth
    from search.report.models import Summary

MOST_SHOWN = 1000
"""Trials of which a page has lines, marks and rows; the rest is in report.json."""


def thinned(summary: Summary, *, most: int = MOST_SHOWN) -> Summary:
    """Return a summary for pictures and tables: the same, unless there are more trials than that.

    What is best, what is on a front, and recipes stay; of the other trials each so many-th does, and of the growth of the
    hypervolume each step.

    Args:
        summary: Of the study.
        most: Trials, if what stays in any case leaves room.
    """
    if len(summary.trials) <= most:
        return summary
    kept = {row.number for row in (summary.best, summary.nearest, *summary.pareto) if row}
    kept |= {row.trial for row in summary.checkpoint_front}
    kept |= {row.number for row in summary.trials if row.recipe is not None}
    others = [row.number for row in summary.trials if row.number not in kept]
    kept.update(others[:: ceil(len(others) / max(1, most - len(kept)))])
    return summary.model_copy(
        update={
            "trials": [row for row in summary.trials if row.number in kept],
            "checkpoints": [row for row in summary.checkpoints if row.trial in kept],
            "hypervolume": _by_steps(summary.hypervolume),
        }
    )


def note_of(shown: Summary, summary: Summary) -> str | None:
    """Say what a page leaves out; None if nothing."""
    if shown is summary:
        return None
    return (
        f"Figures and tables show {len(shown.trials):,} of {len(summary.trials):,} trials: the best ones, all that are on a front, "
        "recipes, and of the others a part, evenly over the search. Numbers in legends are those of what is shown. report.json has "
        "all trials."
    )


def _by_steps(growth: Growth) -> Growth:
    """Leave out the moments between two ends of a step, where nothing rose."""
    history = growth.history
    rises = [now for before, now in pairwise(history) if now.hypervolume != before.hypervolume]
    ends = history[-1:] if rises[-1:] != history[-1:] else []
    return growth.model_copy(update={"history": [*history[:1], *rises, *ends]} if len(history) > 1 else {})
