"""Known setups: the answers to the over-fitting exercise with the figures reported for them, and what people do without us.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOKED_AT = 300
"""Training texts that a look at a recipe, which knows no ceiling, takes in."""

_FROZEN_HEAD = {
    "freeze_depth": None,
    "dropout": 0.3,
    "head_width": 64,
    "learning_rate": 1e-5,
    "patience": 3,
    "epochs": 20,
    "batch_size": 32,
    "ceiling": None,
    "head_weights": "glorot",
    "head_logits": "one",
}


@dataclass(frozen=True)
class Recipe:
    """A fixed setup.

    Attributes:
        settings: What it fixes of a TrainConfig; everything else takes TrainConfig's default. A freeze
            depth of None means all layers, a negative one counts from the top.
        reported_training: Training accuracy reported for an unnamed model and data set, if any.
        reported_validation: Likewise for validation.
        story: What it does, in a sentence.
    """

    settings: Mapping[str, Any]
    reported_training: float | None
    reported_validation: float | None
    story: str

    def resolve(self, *, num_layers: int) -> dict[str, Any]:
        """Return the settings for an encoder of ``num_layers`` layers."""

        def placed(stage: Mapping[str, Any]) -> dict[str, Any]:
            depth = stage["freeze_depth"]
            absolute = num_layers if depth is None else max(0, num_layers + depth) if depth < 0 else depth
            return {**stage, "freeze_depth": absolute}

        settings = placed(self.settings)
        return {**settings, "thaw": placed(settings["thaw"])} if "thaw" in settings else settings


def recipe_passes(
    name: str, *, num_layers: int, num_train: int, num_validation: int, epochs: int | None = None
) -> float:
    """Return how many forward passes of one text through one layer a recipe needs, with looks and what is frozen stored.

    A backward pass counts as two forward ones. Times the operations of a pass, by the speed of a machine, that is its time;
    what a head takes is left out.

    Args:
        name: Of the recipe.
        num_layers: Of the encoder.
        num_train: Training texts.
        num_validation: Validation texts.
        epochs: At most; of two stages of the second one. None leaves the recipe's own.
    """
    settings = RECIPES[name].resolve(num_layers=num_layers)
    stages = [settings, *([settings["thaw"]] if "thaw" in settings else [])]
    passes = 0.0
    for stage in stages:
        layers = num_layers - stage["freeze_depth"]
        count = stage["epochs"] if epochs is None or stage is not stages[-1] else min(epochs, stage["epochs"])
        looked_at = num_validation + min(num_train, LOOKED_AT)
        passes += layers * (count * (3 * num_train + looked_at) + max(0, num_train - LOOKED_AT))
    return passes


def recipe_depths(name: str, *, num_layers: int) -> tuple[int, ...]:
    """Return the freeze depth of each stage of a recipe."""
    settings = RECIPES[name].resolve(num_layers=num_layers)
    stages = [settings, *([settings["thaw"]] if "thaw" in settings else [])]
    return tuple(stage["freeze_depth"] for stage in stages)


OPPONENTS = ("probe", "usual")
"""What people would do without a search: its report says whether it was better than these."""

RECIPES: Mapping[str, Recipe] = {
    "probe": Recipe(
        settings={
            "freeze_depth": None,
            "dropout": 0.0,
            "head_width": 0,
            "learning_rate": 1e-3,  # of steps that are never taken
            "patience": None,
            "epochs": 0,
            "ceiling": None,
            "head_start": "probe",
        },
        reported_training=None,
        reported_validation=None,
        story="nothing trained but a logistic regression on the frozen encoder's vectors",
    ),
    "usual": Recipe(
        settings={
            "freeze_depth": 0,
            "dropout": 0.1,
            "encoder_dropout": 0.1,
            "head_width": 0,
            "learning_rate": 5e-5,
            "patience": None,
            "epochs": 3,
            "batch_size": 32,
            "weight_decay": 0.01,
            "warmup": 0.1,
            "schedule": "linear",
            "ceiling": None,
        },
        reported_training=None,
        reported_validation=None,
        story="the common recipe: everything trainable, 5e-5, three epochs, warm-down, the last weights",
    ),
    "overfit": Recipe(
        settings={
            **_FROZEN_HEAD,
            "freeze_depth": 0,
            "dropout": 0.0,
            "encoder_dropout": 0.0,
            "learning_rate": 5e-5,
            "patience": None,
            "epochs": 5,
        },
        reported_training=0.98,
        reported_validation=0.70,
        story="everything trainable, no dropout, no early stopping",
    ),
    "frozen-head": Recipe(
        settings=_FROZEN_HEAD,
        reported_training=0.90,
        reported_validation=0.87,
        story="all pre-trained layers frozen, a small head with dropout",
    ),
    "thaw-top": Recipe(
        settings={
            **_FROZEN_HEAD,
            "thaw": {"freeze_depth": -2, "learning_rate": 1e-6, "epochs": 20},
        },
        reported_training=None,
        reported_validation=None,
        story="frozen-head first, then its two top layers thawed at 1e-6",
    ),
}
