"""The sampler of a search: Optuna's TPE, which sees what was searched, and no recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import TPESampler

from search.storage import optuna_private
from search.study import attributes as attr

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class SearchSampler(TPESampler):
    """TPE that learns from searched trials alone.

    Recipes are shown beside the search and never steer it: their settings are not the sampler's, most lie outside the
    space, and since TPE ranks complete trials before pruned ones, a recipe that ends at chance would count among the good.

    Args:
        seed: Of what it draws.
    """

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the space that the searched trials have in common."""
        return super().infer_relative_search_space(without_recipes(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all settings together."""
        return super().sample_relative(without_recipes(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one setting by itself."""
        return super().sample_independent(without_recipes(study), trial, param_name, param_distribution)


def without_recipes(study: Study) -> Study:
    """Return a view of a study, in which recipes have never been."""
    return optuna_private.filtered(study, lambda trial: attr.RECIPE not in trial.user_attrs)
