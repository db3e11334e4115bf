"""How long a fit may say nothing before it is taken to hang."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

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
    if wanted == "none":
        return None
    if wanted != "auto":
        return wanted
    expected = [
        seconds * max(1.0, num_trained / max(1, trained))
        for seconds, trained in _longest_silences(trials, num_layers=num_layers)
        if trained or not num_trained
    ]
    return max(FLOOR_SECONDS, MULTIPLE * max(expected)) if expected else None


def _longest_silences(trials: Sequence[FrozenTrial], *, num_layers: int) -> Iterator[tuple[float, int]]:
    """Yield the longest time between two news of each trial's fit, in seconds, and how many layers it trained."""
    for trial in trials:
        evaluations = trial.user_attrs.get(attr.EVALUATIONS, ())
        moments = [0.0, *(e["seconds"] for e in evaluations)]
        moments.append(trial.user_attrs.get(attr.SECONDS, moments[-1]))
        if evaluations:
            trained = num_layers - trial.user_attrs[attr.CONFIG]["freeze_depth"]
            yield max(later - earlier for earlier, later in pairwise(moments)), trained
