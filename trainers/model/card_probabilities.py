"""What a model's card says of its probabilities, and of how it chooses its answer by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.config import METRIC_NAMES, TrainConfig
from trainers.fit import aim_in_words
from trainers.model.markdown import escape, percent

if TYPE_CHECKING:
    from trainers.fit import SplitCalibration
    from trainers.model.decisions import Decisions

ABSTAIN_SHOWN = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities of the card's table of abstaining."""


def decided(found: Decisions, config: TrainConfig) -> list[str]:
    """Say what the model does to its logits, and how it chooses its label."""
    temperature, reason = found.calibration.temperature, found.calibration.reason
    said = [
        f"Logits are divided by {temperature:g}, the temperature of the lowest log loss on validation (`logit_temperature` in "
        "config.json). That is done inside the model: transformers and ONNX give the same probabilities as Frostline. It "
        "changes no label."
        if reason is None
        else f"Logits are as they were fitted, not scaled by a temperature: {reason}."
    ]
    chosen = found.threshold
    if chosen is None and config.metric == "quadratic_kappa":
        said.append(
            "**Steps of a scale.** The answer is the median class: the lowest at or below which half of the probability lies "
            "(`decides` in config.json). Frostline's `predict` gives it, and the figures above are of it; transformers' pipeline "
            "and ONNX give the most probable class."
        )
    if chosen is not None:
        aim, metric, name = aim_in_words(chosen.aim), METRIC_NAMES[config.metric], escape(chosen.name)
        said.append(
            f"**Threshold.** {name} is said from a probability of {chosen.probability:.4f} on, else the other class (`thresholds` "
            f"in config.json), chosen for {aim} of {name} on validation. Frostline's `predict` does so; transformers' pipeline "
            "and ONNX know nothing of it. The figures above are of the most probable class, without it."
        )
        for split, effect in (("validation", chosen.validation), ("the test split", chosen.test)):
            if effect is not None:
                said.append(
                    f"On {split}, {aim} goes from {percent(effect.aim[0])} to {percent(effect.aim[1])}, {metric} from "
                    f"{percent(effect.metric[0])} to {percent(effect.metric[1])}: {effect.num_changed:,} of "
                    f"{effect.num_texts:,} labels change{', by which it was chosen' if split == 'validation' else ''}."
                )
    return said


def _splits(found: Decisions) -> list[tuple[str, SplitCalibration]]:
    test = found.calibration.test
    return [("validation", found.calibration.validation), *([("test", test)] if test else [])]


def believed(found: Decisions) -> list[list[str]]:
    """Write calibration errors before and after temperature scaling, a row a split."""
    return [
        [
            name,
            percent(split.before.error),
            percent(split.after.error),
            percent(split.after.by_chance),
            f"{split.before.log_loss:.4f}",
            f"{split.after.log_loss:.4f}",
        ]
        for name, split in _splits(found)
        if split.num_texts
    ]


def abstaining(found: Decisions) -> list[list[str]]:
    """Write what abstaining would leave, on the test split if somebody looked, else on validation."""
    name, split = _splits(found)[-1]
    shown = [row for row in split.coverage if row.abstain_below in ABSTAIN_SHOWN]
    return [[f"{row.abstain_below:g}", percent(row.coverage), percent(row.accuracy), name] for row in shown]
