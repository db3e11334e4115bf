"""How long a fit may say nothing before it is taken to hang."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Self

from search.study import attributes as attr
from trainers.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TrialTimeout = float | Literal["auto", "none"]

MULTIPLE = 20
"""Times the longest silence seen so far. Fits of one study differ in the layers that they train, which is allowed for,
and in what else it has opened, such as batch size; machines are busy at times."""

FLOOR_SECONDS = 600.0
"""Less is never taken for a hang unless the user says so."""

HELP = (
    "End a fit that has sent no news for this many seconds, and count it as failed. auto: recipes never, others after "
    f"{MULTIPLE} times the longest silence that the study has seen, and {FLOOR_SECONDS:g} at least; none: never. With one "
    "worker only if seconds are given: the fit then runs in a process of its own."
)


def check_timeout(seconds: TrialTimeout) -> None:
    """Refuse a time-out that is none.

    Raises:
        InputError: It is not above 0.
    """
    if not isinstance(seconds, str) and not seconds > 0:
        raise InputError(f"--trial-timeout must be auto, none or above 0 seconds, got {seconds:g}; raise it")


def patience_seconds(
    wanted: TrialTimeout, trials: Sequence[FrozenTrial], *, num_trained: int, num_layers: int
) -> float | None:
    """Return how long a fit may say nothing; None means for ever.

    Args:
        wanted: By the user.
        trials: Of the study. As long as none has trained layers, nothing is known of those that do.
        num_trained: Layers that the fit trains.
        num_layers: Of the encoder.
    """
    return patience_after(wanted, Silences().look(trials), num_trained=num_trained, num_layers=num_layers)


class Silences:
    """The longest time between two news of a fit, in seconds, by freeze depth.

    A look takes time for the trials that are new or under way. Silences only grow: what was seen once is never taken back.
    """

    def __init__(self) -> None:
        self.longest: dict[int, float] = {}
        self._seen: dict[int, FrozenTrial | None] = {}
        self._num_seen = 0

    def look(self, trials: Sequence[FrozenTrial]) -> Self:
        """Take what has changed since the last look.

        Args:
            trials: All of the study's, in order.
        """
        self._seen.update(dict.fromkeys(range(self._num_seen, len(trials))))
        self._num_seen = len(trials)
        for number, before in list(self._seen.items()):
            trial = trials[number]
            if trial.state.is_finished():
                del self._seen[number]
            else:
                self._seen[number] = trial
            evaluations = trial.user_attrs.get(attr.EVALUATIONS, ())
            if trial is before or not evaluations:
                continue
            moments = [0.0, *(e["seconds"] for e in evaluations)]
            moments.append(trial.user_attrs.get(attr.SECONDS, moments[-1]))
            depth = trial.user_attrs[attr.CONFIG]["freeze_depth"]
            silence = max(later - earlier for earlier, later in pairwise(moments))
            self.longest[depth] = max(silence, self.longest.get(depth, 0.0))
        return self


def patience_after(
    wanted: TrialTimeout, silences: Silences, *, num_trained: int, num_layers: int
) -> float | None:
    """Return how long a fit may say nothing, as ``patience_seconds`` does, after what was seen."""
    if wanted == "none":
        return None
    if wanted != "auto":
        return wanted
    expected = [
        seconds * max(1.0, num_trained / max(1, num_layers - depth))
        for depth, seconds in silences.longest.items()
        if num_layers > depth or not num_trained
    ]
    return max(FLOOR_SECONDS, MULTIPLE * max(expected)) if expected else None
