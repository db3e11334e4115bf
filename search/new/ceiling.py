"""The ceiling of a new study: how high training may rise on texts of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.baseline import Aim


def choose_ceiling(aim: Aim) -> float:
    """Return the training figure to stay under."""
    return aim.ceiling
