"""What a saved model's config.json says of it beside its layers: its classes, and how it decides among them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from trainers.config import Clean, Task
from trainers.errors import InputError
from trainers.fit import UNCHANGED, decide, decide_labels, median_class
from trainers.modeling_frostline import FrostlineForSequenceClassification


def pair_columns(model: FrostlineForSequenceClassification) -> tuple[str, str] | None:
    """Return the columns of the pairs that a model was trained on; None of a model of single texts."""
    columns = getattr(model.config, "pair", None)
    return None if columns is None else (str(columns[0]), str(columns[1]))


def cleaning(model: FrostlineForSequenceClassification) -> Clean:
    """Return what was cut out of the texts that a model was trained on; version 0.1 did not save it."""
    clean: Clean = getattr(model.config, "clean", "0.1")
    return clean


def task(model: FrostlineForSequenceClassification) -> Task:
    """Return whether a text has one label or several."""
    several = model.config.problem_type == "multi_label_classification"
    return "several_labels" if several else "one_label"


def temperature(model: FrostlineForSequenceClassification) -> float:
    """Return the number by which a model divides its logits; 1 where it does not."""
    found: float | None = getattr(model.config, "logit_temperature", None)
    return 1.0 if found is None else found


def thresholds(model: FrostlineForSequenceClassification) -> Mapping[str, float]:
    """Return from which probability on a class or label is said, by name.

    It is empty where the most probable class is said; a label that is not in it is said from one half on.
    """
    found: Mapping[str, float] | None = getattr(model.config, "thresholds", None)
    return found or {}


def thresholds_of_labels(model: FrostlineForSequenceClassification) -> npt.NDArray[np.float64]:
    """Return from which probability on each of several labels is said, thresholds_C."""
    found = thresholds(model)
    return np.array([found.get(name, UNCHANGED) for name in class_names(model)])


def decides(model: FrostlineForSequenceClassification) -> str | None:
    """Return ``median`` where a model says the median class; None where it says the most probable one."""
    found: str | None = getattr(model.config, "decides", None)
    return found


def decided_by(
    model: FrostlineForSequenceClassification, probabilities_NC: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Return what a model says by its probabilities: see ``Classifier.decide``."""
    if task(model) == "several_labels":
        return decide_labels(probabilities_NC, thresholds_of_labels(model))
    if decides(model) == "median":
        return median_class(probabilities_NC.astype(np.float64) ** temperature(model))
    return decide(probabilities_NC, class_names(model), thresholds(model))


def class_names(model: FrostlineForSequenceClassification) -> tuple[str, ...]:
    """Return the classes in the order of the logits."""
    return tuple(str(name) for _, name in sorted((model.config.id2label or {}).items()))


def check_decisions(model: FrostlineForSequenceClassification, *, what: str) -> None:
    """Check temperature, rule and thresholds of a model that was read from a file.

    Raises:
        InputError: One of them cannot be.
    """
    remedy = "export the model again: python -m search.export"
    divisor = temperature(model)
    if not _is_number(divisor) or not 0 < divisor < math.inf:
        raise InputError(f"{what}: logit_temperature must be a number above 0, got {divisor!r}; {remedy}")
    if decides(model) not in (None, "median"):
        raise InputError(
            f"{what}: decides must be median or absent, got {decides(model)!r}; a newer version of Frostline may know it: "
            "pip install -U frostline"
        )
    said, names, several = thresholds(model), class_names(model), task(model) == "several_labels"
    is_table = isinstance(said, Mapping) and all(_is_number(t) and 0 <= t <= 1 for t in said.values())
    if (
        not is_table
        or not set(said) <= set(names)
        or (said and not several and (len(said), len(names)) != (1, 2))
    ):
        raise InputError(
            f"{what}: thresholds must give {'labels' if several else 'one of two classes'} a number from 0 to 1, got {said!r} of "
            f"{len(names)} {'labels' if several else 'classes'}; {remedy}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
