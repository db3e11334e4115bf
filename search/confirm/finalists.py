"""Who is confirmed, and on which fresh seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import optuna

from search.analysis import SearchFigures
from search.study import (
    StudySpec,
    attributes as attr,
    begun_data,
    complete,
    finished,
    is_feasible,
    pareto_front,
    recipe_settings,
    recipe_trials,
)
from trainers.config import TrainConfig
from trainers.errors import InputError


@dataclass(frozen=True)
class Finalist:
    """A setup that is fitted again.

    Attributes:
        name: ``trial 24``, or a recipe's.
        trial: Its number in the search; None for a recipe that did not run there.
        recipe: Its name, if it is one.
        config: Its configuration; the seed is the search's.
        search: What it reached in the search; None if it did not run there.
        seconds: That its fit took there.
    """

    name: str
    trial: int | None
    recipe: str | None
    config: TrainConfig
    search: SearchFigures | None
    seconds: float

    @property
    def trains_less(self) -> int:
        """Decides between setups of equal scores: the more is frozen, the better."""
        return self.config.freeze_depth


def choose_finalists(study: optuna.Study, spec: StudySpec, *, num_finalists: int) -> list[Finalist]:
    """Return the Pareto-best feasible setups of the search, best validation first, and then the recipes.

    The recipes are those that the study runs or has run; they do not count against ``num_finalists``, and are all there
    is to confirm while a study has completed nothing else.

    Raises:
        InputError: No complete trial is feasible, so there is nothing to confirm.
    """
    trials = finished(study.get_trials(deepcopy=False))
    searched = [t for t in trials if attr.RECIPE not in t.user_attrs and is_feasible(t)]
    best = pareto_front(searched)[:num_finalists]
    ran = {name: t for name, t in recipe_trials(study).items() if t in complete(trials)}
    if not best and not any(is_feasible(t) for t in ran.values()):
        raise InputError(
            f"study {study.study_name!r} must have a complete trial under the ceiling before it can be confirmed, "
            f"got none of {len(complete(trials))} complete ones; search on: python -m search.run"
        )
    data = begun_data(study, spec)

    def of(trial: optuna.trial.FrozenTrial) -> Finalist:
        notes = trial.user_attrs
        recipe = notes.get(attr.RECIPE)
        return Finalist(
            name=recipe or f"trial {trial.number}",
            trial=trial.number,
            recipe=recipe,
            config=TrainConfig.model_validate({**notes[attr.CONFIG], "data": data}),
            search=SearchFigures(
                validation_accuracy=notes[attr.VALIDATION_ACCURACY],
                training_accuracy=notes[attr.TRAINING_ACCURACY],
            ),
            seconds=notes[attr.SECONDS],
        )

    finalists = [of(t) for t in best]
    for name in dict.fromkeys((*spec.recipes.enqueue, *ran)):
        if name in ran:
            finalists.append(of(ran[name]))
        else:
            settings = recipe_settings(name, spec, num_layers=study.user_attrs[attr.NUM_LAYERS])
            config = spec.train_config(settings, seed=spec.seed).model_copy(update={"data": data})
            finalists.append(Finalist(name, None, name, config, None, 0.0))
    return finalists


def fresh_seeds(study_seed: int, count: int) -> list[int]:
    """Derive seeds that no trial of the study has."""
    return [
        int(np.random.SeedSequence([study_seed, i], spawn_key=(1,)).generate_state(1)[0])
        for i in range(count)
    ]
