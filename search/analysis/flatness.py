"""When to stop: by how much the trials that are left may be expected to improve the best setup.

The errors that a search's best setup still makes fall as a power of the number of trials: in simulated searches on texts of five
kinds twice as many trials left some 9 % fewer. The spread of a search's scores would mislead: where the best lies far above
the rest, luck came early, and less is left to gain (tests/benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from search.interrupts import held_back
from search.study import Frozen, Tally, attributes as attr, results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

NOTICEABLE = 0.002
"""Of the score: less is taken for a gain that nobody would notice, unless the user says otherwise."""

FEWEST_TRIALS = 10
"""Searched trials before which nothing is said: the sampler draws that many at random."""

POWER = 0.13
"""With which errors fall, fitted on untouched texts; 0.12 to 0.15 with any one of the five tasks left out."""


def expected_gain(best: float, *, num_so_far: int, num_more: int) -> float:
    """Return what a number of further trials are expected to gain in accuracy on new texts, all of them together.

    Args:
        best: The highest score so far, a share of one; below 0 there is as much to gain as at 0.
        num_so_far: Trials so far, those without a score included.
        num_more: Trials to come.
    """
    share: float = (num_so_far / (num_so_far + num_more)) ** POWER
    return (1 - max(0.0, best)) * (1 - share)


def gain_left(trials: Sequence[FrozenTrial], *, num_trials: int) -> float | None:
    """Return the expected gain of all trials that a study lacks; None where nothing can be said yet.

    That is as long as a trial waits, such as a recipe, a setup to start from or one to be repeated, before enough searched
    trials have ended, and before one of them has ended under the ceiling. Recipes do not count: no sampler drew them.

    Args:
        trials: All of the study's.
        num_trials: Total number of finished trials that are asked for.
    """
    return _gain_after(Tally().look(trials), num_trials=num_trials)


def _gain_after(tally: Tally, *, num_trials: int) -> float | None:
    best = tally.best_searched
    if tally.num_waiting or tally.num_searched < FEWEST_TRIALS or best is None or best.value is None:
        return None
    num_more = max(0, num_trials - tally.num_finished)
    return expected_gain(best.value, num_so_far=tally.num_searched, num_more=num_more)


class Flat(Frozen):
    """Why a search ended before it had all its trials."""

    noticeable: float = Field(description="Gain of the score below which it was to end.")
    expected_gain: float = Field(
        description="What all trials that were left would gain on average, as simulated searches of other texts went."
    )
    finished: int = Field(description="Finished trials by then.")
    num_trials: int = Field(description="Finished trials that were asked for.")
    sentence: str = Field(description="The same in words.")


def is_flat(tally: Tally, *, num_trials: int, noticeable: float) -> bool:
    """Tell whether the trials that are left are expected to gain less than what would be noticed."""
    gain = _gain_after(tally, num_trials=num_trials)
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
    study.set_user_attr(attr.FLAT, told)
    return _sentence(told)


def why_flat(study: Study) -> Flat | None:
    """Return what ``note_flat`` kept, with the sentence; None if there is nothing, or trials have finished since."""
    told: dict[str, Any] | None = study.user_attrs.get(attr.FLAT)
    if told is None or told["finished"] != len(results.finished(study.get_trials(deepcopy=False))):
        return None
    return Flat(**told, sentence=_sentence(told))


def _sentence(told: dict[str, Any]) -> str:
    left = told["num_trials"] - told["finished"]
    return (
        f"The search ended after {told['finished']} of {told['num_trials']} trials: as simulated searches of other texts went, the "
        f"{left} left would gain {100 * told['expected_gain']:.2f} points on average, less than the "
        f"{100 * told['noticeable']:g} of --until-flat."
    )
