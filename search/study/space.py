"""suggest(trial, spec) -> TrainConfig; and how a recipe enters the same space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from search.study import attributes as attr
from search.study.recipes import OPPONENTS, RECIPES
from search.study.settings import Range
from search.study.spec import StudySpec
from search.study.tally import tally_of
from trainers.config import TrainConfig


def distributions(spec: StudySpec) -> dict[str, BaseDistribution]:
    """Return the distribution of every setting that is not fixed, in the order of the TOML file."""
    return {
        name: _distribution(name, setting)
        for name, setting in spec.fit.items()
        if isinstance(setting, Range | list)
    }


def suggest(trial: optuna.Trial, spec: StudySpec, *, num_layers: int) -> TrainConfig:
    """Choose the configuration of one trial.

    A recipe's own settings win over the space; its parameters may lie outside the space's ranges.

    Args:
        trial: May carry the user attribute ``recipe``.
        spec: Whose space is searched.
        num_layers: Of the encoder; recipes count layers from the top.
    """
    settings: dict[str, Any] = {k: v for k, v in spec.fit.items() if not isinstance(v, Range | list)}
    recipe = trial.user_attrs.get(attr.RECIPE)
    with warnings.catch_warnings():
        if recipe:
            warnings.filterwarnings("ignore", message="Fixed parameter .* is out of range")
        for name, distribution in distributions(spec).items():
            settings[name] = _suggest(trial, name, distribution)
    if recipe:
        settings = recipe_settings(recipe, spec, num_layers=num_layers)
    return spec.train_config(settings, seed=trial_seed(spec.seed, tally_of(trial.study).place(trial.number)))


def recipe_settings(name: str, spec: StudySpec, *, num_layers: int) -> dict[str, Any]:
    """Return a recipe's settings, its epochs capped where the study says so: of two stages the second one's.

    What people would do without us weighs classes as the study does.
    """
    settings = {**RECIPES[name].resolve(num_layers=num_layers), "threads": spec.any_config().threads}
    weights = spec.fit.get("class_weights")
    if name in OPPONENTS and (weights == "balanced" or isinstance(weights, dict)):
        settings["class_weights"] = weights
    cap = spec.recipes.epochs.get(name)
    if cap is None:
        return settings
    if "thaw" in settings:
        return {**settings, "thaw": _capped(settings["thaw"], cap)}
    return _capped(settings, cap)


def _capped(settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    return {**settings, "epochs": min(epochs, settings["epochs"])}


def recipe_params(name: str, spec: StudySpec, *, num_layers: int) -> dict[str, Any]:
    """Return the part of a recipe that the space has a place for, to be enqueued.

    A value that is absent, not among the choices of a list, or one that has no logarithm where the space has, is left
    to the sampler; the trial runs with the recipe's own value all the same.
    """
    settings = recipe_settings(name, spec, num_layers=num_layers)
    return {
        key: settings[key]
        for key, distribution in distributions(spec).items()
        if settings.get(key) is not None and _has_place(distribution, settings[key])
    }


def _has_place(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return value > 0 or not getattr(distribution, "log", False)


def trial_seed(study_seed: int, trial_number: int) -> int:
    """Derive a trial's own seed, the same whoever runs it."""
    return int(np.random.SeedSequence([study_seed, trial_number]).generate_state(1)[0])


def place(trials: Sequence[FrozenTrial], number: int) -> int:
    """Return which trial of the study this is, repeats not counted; a repeat stands in its original's place.

    Args:
        trials: All of the study's, in order.
        number: Of the trial; one more than the last is the next one.
    """
    while number < len(trials) and attr.RETRY_OF in trials[number].user_attrs:
        number = trials[number].user_attrs[attr.RETRY_OF]
    return sum(attr.RETRY_OF not in t.user_attrs for t in trials[:number])


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, CategoricalDistribution)  # noqa: S101
    return trial.suggest_categorical(name, distribution.choices)


def _distribution(name: str, setting: Range | list[Any]) -> BaseDistribution:
    if isinstance(setting, list):
        return CategoricalDistribution(setting)
    if TrainConfig.model_fields[name].annotation in (int, int | None):
        return IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return FloatDistribution(float(setting.low), float(setting.high), log=setting.log)
