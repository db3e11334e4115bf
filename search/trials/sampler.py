"""The samplers of a search: Optuna's TPE, which sees what was searched, and no recipe; points at random, or Sobol's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from search.storage import optuna_private
from search.study import StudySpec, distributions, trial_seed
from search.trials.searched import searched_of, without_recipes

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
        history: Trials with a score that it learns from at most: those that it takes for the good ones, and of the others
            the latest. None means all; a draw then takes the longer the more there are.

    Attributes:
        seconds: That the draw took.
    """

    def __init__(self, *, seed: int, history: int | None = None) -> None:
        super().__init__(seed=seed)
        self._history = history
        self.seconds = 0.0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the space that the searched trials have in common."""
        space: dict[str, BaseDistribution] = searched_of(study).space.calculate(without_recipes(study))
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all settings together."""
        began = time.perf_counter()
        drawn: dict[str, Any] = super().sample_relative(self._view(study), trial, search_space)
        self.seconds += time.perf_counter() - began
        return drawn

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one setting by itself."""
        return super().sample_independent(self._view(study), trial, param_name, param_distribution)

    def _view(self, study: Study) -> Study:
        if self._history is None:
            return without_recipes(study)
        num_best = optuna_private.num_good(self._history)
        return without_recipes(study, limit=self._history, num_best=num_best)


def sampler_of(spec: StudySpec, *, place: int) -> BaseSampler:
    """Return the sampler of one trial: given the same results, it draws the same whenever it is asked.

    Args:
        spec: Of the study.
        place: Of the trial, which repeats share with their originals.
    """
    seed = trial_seed(spec.seed + 1, place)
    match spec.sampler.kind:
        case "tpe":
            return SearchSampler(seed=seed, history=spec.sampler.history)
        case "random":
            return RandomSampler(seed=seed)
        case "sobol":
            space = {name: d for name, d in distributions(spec).items() if not d.single()}
            return optuna_private.SobolPoint(place, space=space, seed=trial_seed(spec.seed + 1, 0))
