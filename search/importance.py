"""Which hyperparameters mattered: Optuna's importances, where they can be told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial

from search import results

LEAST_TRIALS = 2


def importances(trials: Iterable[FrozenTrial]) -> dict[str, Any]:
    """Tell how much each searched setting decided about the score (PED-ANOVA, arXiv:2304.10255).

    Recipes are left out: what ran is not what was suggested. So are pruned trials, which have no final score.

    Returns:
        ``shares``, by setting and the largest first, 1 in all, or null; ``trials``, how many it rests on; and
        ``missing``, why there are no shares, or null.
    """
    scored = [t for t in results.complete(trials) if "recipe" not in t.user_attrs and t.params]
    answer = {"shares": None, "trials": len(scored), "missing": None}
    if len(scored) < LEAST_TRIALS:
        return answer | {
            "missing": f"it takes {LEAST_TRIALS} complete trials besides the recipes, there are {len(scored)}"
        }
    if len({t.value for t in scored}) == 1:
        return answer | {"missing": f"all {len(scored)} complete trials have the same score"}
    import optuna

    study = optuna.create_study(direction="maximize")  # in memory: get_param_importances wants a whole study
    study.add_trials(scored)
    shares = optuna.importance.get_param_importances(study)
    return answer | {"shares": {name: float(share) for name, share in shares.items()}}
