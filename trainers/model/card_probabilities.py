"""What a model's card says of its probabilities, and of how it chooses its answer by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.config import METRIC_NAMES, TrainConfig
from trainers.fit import aim_in_words
from trainers.model.markdown import escape, percent

if TYPE_CHECKING:
    from trainers.fit import SplitCalibration
    from trainers.model.decisions import Decisions
    from trainers.model.effect import Effect
    from trainers.model.label_thresholds import LabelThresholds

ABSTAIN_SHOWN = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities of the card's table of abstaining."""


def decided(found: Decisions, config: TrainConfig) -> list[str]:
    """Say what the model does to its logits, and how it chooses its label."""
    temperature, reason, on = found.calibration.temperature, found.calibration.reason, found.chosen_on
    said = [
        f"Logits are divided by {temperature:g}, the temperature of the lowest log loss on {on} (`logit_temperature` in "
        "config.json). That is done inside the model: transformers and ONNX give the same probabilities as Frostline. It "
        "changes no label."
        if reason is None
        else f"Logits are as they were fitted, not scaled by a temperature: {reason}."
    ]
    if found.folds is not None:
        said.insert(
            0,
            f"What is said here of {on} are answers of {found.folds} fits with the same settings, each on the other folds, on each "
            "fold's texts. This model was fitted on all of them; its own probabilities were not measured on texts that it had not seen"
            f"{', but for the test split' if found.calibration.test else ''}.",
        )
    chosen = found.threshold
    if chosen is None and config.metric == "quadratic_kappa":
        said.append(
            "**Steps of a scale.** The answer is the median class: the lowest at or below which half of the probability lies "
            "(`decides` in config.json). Frostline's `predict` gives it, and the figures above are of it; transformers' pipeline "
            "and ONNX give the most probable class."
        )
    if chosen is not None:
        aim, name = aim_in_words(chosen.aim), escape(chosen.name)
        said.append(
            f"**Threshold.** {name} is said from a probability of {chosen.probability:.4f} on, else the other class (`thresholds` "
            f"in config.json), chosen for {aim} of {name} on {on}. Frostline's `predict` does so; transformers' pipeline "
            "and ONNX know nothing of it. The figures above are of the most probable class, without it."
        )
        said += _effects(aim, config, chosen.validation, chosen.test, on=on, what="labels change")
    if found.labels is not None:
        said += _of_labels(found.labels, config, on=on)
    return said


def label_columns(found: Decisions) -> list[str]:
    """Name the columns of ``label_rows``."""
    if found.labels is None:
        return []
    aim = aim_in_words(found.labels.aim)
    tested = [f"{aim} on the test split"] if found.labels.test else []
    return ["label", "said from", f"{aim} on {found.chosen_on}, 0.5 → this", *tested]


def label_rows(found: Decisions) -> list[list[str]]:
    """Write from where on each label is said, and what that does, a row a label."""
    return [
        [
            escape(label.name),
            f"{label.probability:.4f}",
            *(f"{percent(pair[0])} → {percent(pair[1])}" for pair in (label.validation, label.test) if pair),
        ]
        for label in (found.labels.labels if found.labels else ())
        if label.reason is None
    ]


def _of_labels(found: LabelThresholds, config: TrainConfig, *, on: str) -> list[str]:
    aim = aim_in_words(found.aim)
    said = [
        f"**Thresholds.** Each label is said from a probability of its own on (`thresholds` in config.json; one that is not there, "
        f"from 0.5 on), chosen for {aim} of the label on {on}. Frostline's `predict` does so; transformers' pipeline knows nothing "
        "of it, and with ONNX `sigmoid(logits) >= thresholds` is yours to write. The figures above are with 0.5 for each."
    ]
    if found.left:
        reasons = "; ".join(f"{escape(name)}: {reason}" for name, reason in found.left.items())
        said.append(f"Left at 0.5: {reasons}.")
    return said + _effects(
        f"the labels' mean {aim}",
        config,
        found.validation,
        found.test,
        on=on,
        what="texts get other labels",
    )


def _effects(
    aim: str, config: TrainConfig, validation: Effect, test: Effect | None, *, on: str, what: str
) -> list[str]:
    metric = METRIC_NAMES[config.metric]
    return [
        f"On {name}, {aim} goes from {percent(effect.aim[0])} to {percent(effect.aim[1])}, {metric} from "
        f"{percent(effect.metric[0])} to {percent(effect.metric[1])}: {effect.num_changed:,} of {effect.num_texts:,} {what}"
        f"{', by which it was chosen' if effect is validation else ''}."
        for name, effect in ((on, validation), ("the test split", test))
        if effect is not None
    ]


def _splits(found: Decisions) -> list[tuple[str, SplitCalibration]]:
    test = found.calibration.test
    return [(found.chosen_on, found.calibration.validation), *([("test", test)] if test else [])]


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
