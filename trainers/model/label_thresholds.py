"""From which probability on each of several labels is said: chosen on validation, label by label.

Shapes: N texts, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.config import METRIC_NAMES, Metric
from trainers.errors import printable
from trainers.fit import (
    UNCHANGED,
    Answered,
    Answers,
    Floats,
    ThresholdAim,
    achieved,
    aim_in_words,
    best_threshold,
    decide_labels,
    measure_several,
    sigmoid,
)
from trainers.model.effect import Effect, describe_effects

FEWEST = 10
"""Texts that have a label, and texts that have it not, below which its threshold stays where it is. On made answers, F1 thresholds
by ten texts gained 10 points where 0.5 was a bad place, and lost up to 2.3 where it was a good one (studies/LOG.md)."""

SHOWN = 10
"""Labels whose thresholds a terminal shows."""


@dataclass(frozen=True, kw_only=True)
class LabelThreshold:
    """From which probability on one label is said.

    Attributes:
        name: Of the label.
        probability: From which on.
        reason: Why that is one half though nobody looked for a better place; None where somebody looked.
        validation: What it was chosen for, on validation: with one half, and with it.
        test: Likewise, on the test split; None if nobody looked.
    """

    name: str
    probability: float
    reason: str | None
    validation: tuple[float, float]
    test: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class LabelThresholds:
    """From which probability on labels are said.

    Attributes:
        aim: What each was chosen for, on validation.
        labels: One entry each.
        validation: What they change there; their ``aim`` is the mean over the labels.
        test: On the test split; None if nobody looked.
    """

    aim: ThresholdAim
    labels: tuple[LabelThreshold, ...]
    validation: Effect
    test: Effect | None

    @property
    def moved(self) -> Mapping[str, float]:
        """By name, those that are not one half."""
        return {label.name: label.probability for label in self.labels if label.probability != UNCHANGED}

    @property
    def left(self) -> Mapping[str, str]:
        """Why no threshold was looked for, by the name of the label."""
        return {label.name: label.reason for label in self.labels if label.reason is not None}


def choose_label_thresholds(
    validation: Answered,
    test: Answered | None,
    names: Sequence[str],
    *,
    aim: ThresholdAim,
    metric: Metric,
    temperature: float,
) -> LabelThresholds:
    """Choose the best place for each label by itself, and measure what they do together.

    Args:
        validation: By which they are chosen.
        test: Where they are measured, too; None if nobody looks.
        names: Of the labels.
        aim: What they are chosen for.
        metric: Of the configuration.
        temperature: By which logits are divided.
    """
    scores_NC, true_NC = sigmoid(validation.logits_NC / temperature), validation.labels_N.astype(bool)
    reasons = [_too_few(column_N, len(true_NC)) for column_N in true_NC.sum(axis=0)]
    thresholds_C = np.array(
        [
            UNCHANGED if reason is not None else best_threshold(scores_N, true_N, aim=aim)
            for reason, scores_N, true_N in zip(reasons, scores_NC.T, true_NC.T, strict=True)
        ]
    )
    splits = [validation, *([] if test is None else [test])]
    each = [_each(split, thresholds_C, aim=aim, temperature=temperature) for split in splits]
    effects = [
        _effect(split, pairs, thresholds_C, metric=metric, temperature=temperature)
        for split, pairs in zip(splits, each, strict=True)
    ]
    return LabelThresholds(
        aim=aim,
        labels=tuple(
            LabelThreshold(
                name=name,
                probability=float(thresholds_C[i]),
                reason=reasons[i],
                validation=each[0][i],
                test=None if test is None else each[1][i],
            )
            for i, name in enumerate(names)
        ),
        validation=effects[0],
        test=None if test is None else effects[1],
    )


def describe_label_thresholds(
    found: LabelThresholds, *, metric: Metric, on: str = "validation"
) -> Iterator[str]:
    """Say in lines what they are and what they do."""
    shown = ", ".join(f"{printable(name)!r} {p:.4f}" for name, p in list(found.moved.items())[:SHOWN])
    more = len(found.moved) - SHOWN
    yield (
        f"thresholds, chosen for {aim_in_words(found.aim)} of each label on {on}: {shown or 'none is better than 0.5'}"
        f"{f' and {more} more' if more > 0 else ''}{'; all others 0.5' if 0 < len(found.moved) < len(found.labels) else ''}"
    )
    for name, reason in list(found.left.items())[:SHOWN]:
        yield f"  note: {printable(name)!r} stays at 0.5: {reason}"
    if len(found.left) > SHOWN:
        yield f"  note: so do {len(found.left) - SHOWN} more labels"
    yield from describe_effects(
        f"mean {aim_in_words(found.aim)} of the labels",
        METRIC_NAMES[metric],
        found.validation,
        found.test,
        what="texts get other labels",
        on=on,
    )


def _too_few(num_true: int, num_texts: int) -> str | None:
    for count, has in ((num_true, "have it"), (num_texts - num_true, "have it not")):
        if count < FEWEST:
            return f"{count} validation texts {has}, fewer than {FEWEST}"
    return None


def _each(
    split: Answered, thresholds_C: Floats, *, aim: ThresholdAim, temperature: float
) -> list[tuple[float, float]]:
    """Return what the aim comes to with one half and with each threshold, label by label."""
    columns = zip(sigmoid(split.logits_NC / temperature).T, split.labels_N.T, thresholds_C, strict=True)
    return [
        (
            achieved(scores_N >= UNCHANGED, labels_N == 1, aim=aim),
            achieved(scores_N >= threshold, labels_N == 1, aim=aim),
        )
        for scores_N, labels_N, threshold in columns
    ]


def _effect(
    split: Answered,
    pairs: Sequence[tuple[float, float]],
    thresholds_C: Floats,
    *,
    metric: Metric,
    temperature: float,
) -> Effect:
    scores_NC = sigmoid(split.logits_NC / temperature)
    answers = Answers(split.labels_N, scores_NC)
    changed_NC = decide_labels(scores_NC) != decide_labels(scores_NC, thresholds_C)
    before, after = np.mean(pairs, axis=0)
    return Effect(
        num_texts=len(scores_NC),
        num_changed=int(changed_NC.any(axis=1).sum()),
        aim=(float(before), float(after)),
        metric=(
            measure_several(answers, metric=metric),
            measure_several(answers, metric=metric, thresholds_C=thresholds_C),
        ),
    )
