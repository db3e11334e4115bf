"""Whether workers wait for the sampler: how long it takes for a setup, against how often a fit ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import fmean, median

NUM_DRAWS = 20
"""The latest ones, whose median counts: a single slow one says nothing."""

NUM_FITS = 100
"""The latest ones, whose mean counts."""

SHARE = 0.5
"""Of the time between two ends of fits, above which draws are said to be the bound."""


class Draws:
    """The time that the sampler takes, and the sentence that says so, once."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=NUM_DRAWS)
        self._has_said = False

    def took(self, seconds: float, *, fits: Sequence[float], num_workers: int) -> str | None:
        """Take note of a draw; returns what to tell the user, if there is something to tell.

        Args:
            seconds: That the draw took.
            fits: Seconds of each fit that has ended, the latest last.
            num_workers: That fit side by side, while one process draws for all of them.
        """
        self._seconds.append(seconds)
        if self._has_said or len(self._seconds) < NUM_DRAWS or not fits:
            return None
        draw, between = median(self._seconds), fmean(fits[-NUM_FITS:]) / num_workers
        if draw <= SHARE * between:
            return None
        self._has_said = True
        return (
            f"the sampler, TPE, takes {draw:.2g} s for a setup by now, since it learns from every trial, and with "
            f"{num_workers} workers a fit ends every {between:.2g} s: they wait for it. Under [sampler] of the TOML file, "
            'history = 1000 bounds what it learns from, and kind = "sobol" learns nothing; stop the search, set one of '
            "them, and give the same command again"
        )
