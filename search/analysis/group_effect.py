"""How much less the validation texts of a study say where they belong to groups: one figure for all errors of a report."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from search.study import attributes as attr, results

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def group_effect(trials: Sequence[FrozenTrial]) -> float | None:
    """Return how many times the variance of a validation figure is that of as many texts without groups.

    That is the median over complete trials: each measured how alike its answers to texts of a group were.

    Args:
        trials: Of a study.

    Returns:
        None where texts belong to no groups, or no trial could tell.
    """
    told = [trial.user_attrs.get(attr.DESIGN_EFFECT) for trial in results.complete(trials)]
    known = [effect for effect in told if effect is not None]
    return median(known) if known else None


def say_groups(num_texts: int, effect: float) -> str:
    """Say that errors are those of groups.

    Args:
        num_texts: Of the validation split.
        effect: What ``group_effect`` returned.
    """
    return (
        f"errors on validation are those of other groups: answers to texts of a group are alike, so that {num_texts:,} texts say "
        f"as much as {num_texts / effect:,.0f} of different groups"
    )
