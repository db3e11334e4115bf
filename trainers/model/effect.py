"""What a model's thresholds change on a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What thresholds change on a split.

    Attributes:
        num_texts: Of the split.
        num_changed: Texts that get another label, or other labels.
        aim: What they were chosen for, without them and with them.
        metric: The configuration's metric, likewise.
    """

    num_texts: int
    num_changed: int
    aim: tuple[float, float]
    metric: tuple[float, float]


def describe_effects(
    aim: str,
    metric: str,
    validation: Effect,
    test: Effect | None,
    *,
    what: str = "labels change",
    on: str = "validation",
) -> Iterator[str]:
    """Say in a line a split what thresholds change.

    Args:
        aim: What they were chosen for, in words.
        metric: Likewise.
        validation: Of the texts that they were chosen by.
        test: Of the test split; None if nobody looked.
        what: Happens to so many of the texts.
        on: What the first of these splits is called.
    """
    for name, effect in ((on, validation), ("the test split", test)):
        if effect is not None:
            yield (
                f"  on {name}: {aim} {_change(effect.aim)}, {metric} {_change(effect.metric)}; {effect.num_changed} of "
                f"{effect.num_texts} {what}"
            )


def _change(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2%} -> {pair[1]:.2%}"
