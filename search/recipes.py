"""Known answers to the over-fitting exercise, each with the figures that were reported for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def recipe_depths(name: str, *, num_layers: int) -> tuple[int, ...]:
    """Return the freeze depth of each stage of a recipe."""
    settings = RECIPES[name].resolve(num_layers=num_layers)
    stages = [settings, *([settings["thaw"]] if "thaw" in settings else [])]
    return tuple(stage["freeze_depth"] for stage in stages)


RECIPES: Mapping[str, Recipe] = {
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
