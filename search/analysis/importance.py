"""Which hyperparameters mattered: Optuna's importances with their intervals, where they can be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial
from pydantic import Field

from search.study import Frozen, attributes as attr, results

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 20
"""Complete trials. Of two, Optuna gives shares as well, to settings that could not act, too."""

LEAST_TOP = 5
"""PED-ANOVA compares the best trials with all; Optuna's documentation asks for at least this many of the best."""

DRAWS = 60
CONFIDENCE = 0.9


class Ends(Frozen):
    """Both ends of an interval."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")


class Importances(Frozen):
    """How much each searched setting decided about the score (Optuna's PED-ANOVA), from 20 complete trials on."""

    shares: dict[str, float] | None = Field(
        description="By setting, largest first, 1 in all; null where it cannot be told."
    )
    intervals: dict[str, Ends] | None = Field(
        description="Of each share, from a bootstrap over trials; null where there are no shares."
    )
    confidence: float = Field(description="Of the intervals.")
    trials: int = Field(description="Complete trials that it rests on, recipes left out.")
    missing: str | None = Field(description="Why it cannot be told.")


_Row = tuple[float, tuple[tuple[str, Any, "BaseDistribution"], ...]]


def importances(trials: Iterable[FrozenTrial]) -> Importances:
    """Tell how much each searched setting decided about the score (PED-ANOVA, arXiv:2304.10255).

    Recipes are left out: what ran is not what was suggested. So are pruned trials, which have no final score:
    what is told holds among those that ran to their end.
    """
    scored = [t for t in results.complete(trials) if attr.RECIPE not in t.user_attrs and t.params]
    missing = None
    if len(scored) < LEAST_TRIALS:
        missing = f"it takes {LEAST_TRIALS} complete trials besides the recipes, there are {len(scored)}"
    elif len({t.value for t in scored}) == 1:
        missing = f"all {len(scored)} complete trials have the same score"
    shares, intervals = (None, None) if missing else _told(tuple(map(_row, scored)))
    return Importances(
        shares=shares, intervals=intervals, confidence=CONFIDENCE, trials=len(scored), missing=missing
    )


def _row(trial: FrozenTrial) -> _Row:
    assert trial.value is not None  # noqa: S101
    return trial.value, tuple((k, trial.params[k], trial.distributions[k]) for k in sorted(trial.params))


@lru_cache(maxsize=4)
def _told(rows: tuple[_Row, ...]) -> tuple[dict[str, float], dict[str, Ends]]:
    """Return shares and intervals; the terminal, the page and the dashboard ask for the same ones."""
    import optuna

    study = optuna.create_study(direction="maximize")  # in memory: get_param_importances wants a whole study
    for value, settings in rows:
        params = {name: chosen for name, chosen, _ in settings}
        distributions = {name: distribution for name, _, distribution in settings}
        study.add_trial(optuna.trial.create_trial(value=value, params=params, distributions=distributions))
    trials = study.get_trials(deepcopy=False)
    shares = _shares(study, trials)
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in shares}
    for _ in range(DRAWS):
        again = [trials[i] for i in generator.integers(len(trials), size=len(trials))]
        found = _shares(study, again)
        for name, draws in drawn.items():
            draws.append(found.get(name, 0.0))
    tail = (1 - CONFIDENCE) / 2
    ends = {name: np.quantile(draws, [tail, 1 - tail]) for name, draws in drawn.items()}
    return shares, {name: Ends(low=float(low), high=float(high)) for name, (low, high) in ends.items()}


def _shares(study: Any, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study.get_trials = lambda *_, **__: list(trials)  # adding them again for each draw takes twice as long
    best = PedAnovaImportanceEvaluator(target_quantile=max(0.1, LEAST_TOP / len(trials)))
    return {name: float(share) for name, share in get_param_importances(study, evaluator=best).items()}
