"""Whether a search was worth it: its winner against what people would do without one, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from search.analysis.ceiling_cost import error_of_difference
from search.analysis.outcome import confirmation_of
from search.study import OPPONENTS, attributes as attr, results

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from trainers.config import Metric

Verdict = Literal["better", "worse", "not told apart", "itself", "unknown"]

BEYOND = 2.0
"""Standard errors by which figures must differ to be told apart."""

SIGNIFICANT = 0.05


def winner_of(study: Study) -> FrozenTrial | None:
    """Return the trial that would be exported: the confirmed winner, else the best one under the ceiling."""
    trials = study.get_trials(deepcopy=False)
    confirmation = confirmation_of(study)
    if confirmation and confirmation["winner"] is not None:
        row = next(f for f in confirmation["finalists"] if f["name"] == confirmation["winner"])
        confirmed = [trial for trial in trials if trial.number == row["trial"]]
        if confirmed:
            return confirmed[0]
    return results.best_feasible(trials)


def compare_with_opponents(study: Study, winner: FrozenTrial | None, *, metric: Metric) -> dict[str, Any]:
    """Compare a trial with the recipes of what people would do without a search, and with the words alone.

    Args:
        study: Finished or running.
        winner: The trial; None if there is none yet.
        metric: The study's.

    Returns:
        ``name``, ``trial`` and ``validation_accuracy`` of the winner, or null; ``tries`` that it is the best of;
        ``seconds`` of the search; and ``opponents``, each with ``name``, ``validation_accuracy`` and ``seconds`` (null
        where it has not ended), ``difference``, by how much the winner lies above it on validation, its
        ``standard_error``, and ``verdict``; and ``test``, likewise on the test split, where both were confirmed:
        ``difference``, ``low``, ``high``, ``verdict``.
    """
    ended = results.finished(study.get_trials(deepcopy=False))
    notes: dict[str, Any] = winner.user_attrs if winner else {}
    name: str | None = (notes.get(attr.RECIPE) or f"trial {winner.number}") if winner else None
    own: float | None = notes.get(attr.VALIDATION_ACCURACY)
    confirmation = confirmation_of(study)
    opponents = []
    for opponent, reached, seconds in _opponents(study):
        difference = None if own is None or reached is None else own - reached
        error = None
        if own is not None and reached is not None:
            error = error_of_difference(own, reached, metric=metric, data=study.user_attrs.get(attr.DATA))
        opponents.append(
            {
                "name": opponent,
                "validation_accuracy": reached,
                "seconds": seconds,
                "difference": difference,
                "standard_error": error,
                "verdict": "itself" if opponent == name else _judge(difference, error),
                "test": _tested(confirmation, name, opponent),
            }
        )
    return {
        "name": name,
        "trial": winner.number if winner else None,
        "validation_accuracy": own,
        "tries": sum(attr.RECIPE not in t.user_attrs for t in ended),
        "seconds": study.user_attrs.get(attr.WALL_SECONDS),
        "opponents": opponents,
    }


def _opponents(study: Study) -> Sequence[tuple[str, float | None, float | None]]:
    """Return name, validation accuracy and seconds of each opponent."""
    ran = results.recipe_trials(study)
    found = []
    for name in OPPONENTS:
        trial = next(iter(results.complete([ran[name]])), None) if name in ran else None
        notes = trial.user_attrs if trial else {}
        found.append((name, notes.get(attr.VALIDATION_ACCURACY), notes.get(attr.SECONDS)))
    words = study.user_attrs.get(attr.WORDS) or {}
    return [*found, (WORDS_ALONE, words.get("validation_accuracy"), words.get("seconds"))]


def _judge(difference: float | None, error: float | None) -> Verdict:
    if difference is None or error is None:
        return "unknown"
    if abs(difference) <= BEYOND * error:
        return "not told apart"
    return "better" if difference > 0 else "worse"


def _tested(confirmation: dict[str, Any] | None, name: str | None, opponent: str) -> dict[str, Any] | None:
    for pair in (confirmation or {}).get("comparisons", ()):
        if {pair["first"], pair["second"]} == {name, opponent}:
            sign = 1 if pair["first"] == name else -1
            verdict: Verdict = "not told apart"
            low = high = None
            if pair["low"] is not None:
                low, high = sorted((sign * pair["low"], sign * pair["high"]))
                if pair["p_holm"] < SIGNIFICANT and pair["num_seeds"] > 1:
                    verdict = "better" if low > 0 else "worse" if high < 0 else verdict
            return {"difference": sign * pair["difference"], "low": low, "high": high, "verdict": verdict}
    return None


WORDS_ALONE = "the words alone"
