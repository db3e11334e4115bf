"""When to stop: by how much the trials that are left may be expected to raise the best score.

Trials are taken for draws of one kind, in no order. Then the i-th is the best so far with a chance of 1 / i, and where scores
have an exponential tail, each new best lies on average as far above the old one as the best scores lie above the next (Rényi
1953, On the theory of order statistics). Both are simple, and neither is quite so: a sampler that learns finds better setups later, and
a score that was measured on few texts rises partly by luck. In simulated searches that ended by it, the figure was right on
average; which of two searches has more to gain, it could not tell (tests/benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from search.interrupts import held_back
from search.study import results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

NOTICEABLE = 0.002
"""Of the score: less is taken for a gain that nobody would notice, unless the user says otherwise."""

FEWEST_TRIALS = 10
"""Searched trials before which nothing is said: the sampler draws so many blindly."""

FEWEST_SCORES = 6
"""Scores before which nothing is said: of these, three lie above the fourth."""

FLAT = "flat"
"""User attribute of a study: why a search ended before it had all its trials."""


def expected_gain(scores: Sequence[float], *, num_so_far: int, num_more: int) -> float:
    """Return by how much so many more trials are expected to raise the best score, all of them together.

    Equal scores promise nothing.

    Args:
        scores: At least two, of the trials that have one.
        num_so_far: Trials so far, those without a score included.
        num_more: Trials to come, as many of which will have none.
    """
    ordered = sorted(scores, reverse=True)
    best = max(len(ordered) // 2, 1)
    above = fmean(ordered[:best]) - ordered[best]
    return above * sum(1 / i for i in range(num_so_far + 1, num_so_far + num_more + 1))


def gain_left(trials: Sequence[FrozenTrial], *, num_trials: int) -> float | None:
    """Return the expected gain of all trials that a study lacks; None where nothing can be said yet.

    That is as long as a trial waits, such as a recipe, a setup to start from or one to be repeated, and before enough searched
    trials have ended, and enough of them under the ceiling. Recipes do not count: no sampler drew them.

    Args:
        trials: All of the study's.
        num_trials: Total number of finished trials that are asked for.
    """
    if any(t.state.name == "WAITING" for t in trials):
        return None
    ended = results.finished(trials)
    searched = [t for t in ended if "recipe" not in t.user_attrs]
    scores = [t.value for t in results.complete(searched) if t.value is not None and results.is_feasible(t)]
    if len(searched) < FEWEST_TRIALS or len(scores) < FEWEST_SCORES:
        return None
    return expected_gain(scores, num_so_far=len(searched), num_more=max(0, num_trials - len(ended)))


def is_flat(trials: Sequence[FrozenTrial], *, num_trials: int, noticeable: float) -> bool:
    """Tell whether the trials that are left are expected to gain less than what would be noticed."""
    gain = gain_left(trials, num_trials=num_trials)
    return gain is not None and gain < noticeable


@held_back()
def note_flat(study: Study, *, num_trials: int, noticeable: float) -> str | None:
    """Keep with a study that its search ended because it was flat, and say so; None if it was not.

    Args:
        study: Whose search has ended.
        num_trials: Total number of finished trials that were asked for.
        noticeable: Gain below which it was to end.
    """
    trials = study.get_trials(deepcopy=False)
    num_finished = len(results.finished(trials))
    gain = gain_left(trials, num_trials=num_trials)
    if num_finished >= num_trials or gain is None or gain >= noticeable:
        return None
    told = {
        "noticeable": noticeable,
        "expected_gain": gain,
        "finished": num_finished,
        "num_trials": num_trials,
    }
    study.set_user_attr(FLAT, told)
    return _sentence(told)


def why_flat(study: Study) -> dict[str, Any] | None:
    """Return what ``note_flat`` kept, with the sentence; None if there is nothing, or trials have finished since."""
    told: dict[str, Any] | None = study.user_attrs.get(FLAT)
    if told is None or told["finished"] != len(results.finished(study.get_trials(deepcopy=False))):
        return None
    return {**told, "sentence": _sentence(told)}


def _sentence(told: dict[str, Any]) -> str:
    left = told["num_trials"] - told["finished"]
    return (
        f"The search ended after {told['finished']} of {told['num_trials']} trials: were the other {left} drawn like those so far, "
        f"they would raise the best score by {100 * told['expected_gain']:.2f} points on average, less than the "
        f"{100 * told['noticeable']:g} of --until-flat."
    )
