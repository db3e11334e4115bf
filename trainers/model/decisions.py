"""How a fitted model turns logits into answers: its temperature and its threshold, both chosen on validation.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trainers.config import METRIC_NAMES, Metric, Task
from trainers.errors import InputError, nearest, printable
from trainers.fit import (
    Answered,
    Answers,
    Calibration,
    Labels,
    ThresholdAim,
    achieved,
    aim_in_words,
    answer_test,
    answer_validation,
    best_threshold,
    calibrate,
    decide,
    measure,
    one_column,
    probabilities,
    ranked_class,
)

if TYPE_CHECKING:
    from trainers.config import TrainConfig
    from trainers.fit import Features, FitResult

BINS = "15 bins of equally many texts"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a threshold changes on a split.

    Attributes:
        num_texts: Of the split.
        num_changed: Texts that get the other label.
        aim: What the threshold was chosen for, without it and with it.
        metric: The configuration's metric, likewise.
    """

    num_texts: int
    num_changed: int
    aim: tuple[float, float]
    metric: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which probability on one of two classes is said.

    Attributes:
        name: Of the class.
        probability: From which on.
        aim: What it was chosen for, on validation.
        validation: What it changes there.
        test: On the test split; None if nobody looked.
    """

    name: str
    probability: float
    aim: ThresholdAim
    validation: Effect
    test: Effect | None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """A model's temperature and, if it was asked for, its threshold."""

    calibration: Calibration
    threshold: Threshold | None = None

    @property
    def thresholds(self) -> Mapping[str, float]:
        """As ``assemble`` takes them."""
        return {} if self.threshold is None else {self.threshold.name: self.threshold.probability}


def check_threshold(
    aim: ThresholdAim | None,
    positive: str | None,
    *,
    names: Sequence[str] | None = None,
    task: Task = "one_label",
) -> None:
    """Check, before anything is fitted, that a threshold can be chosen.

    Args:
        aim: As for ``decisions``.
        positive: Likewise.
        names: Of the classes; None before they are known.
        task: Whether a text has one label or several.

    Raises:
        InputError: A class is given without an aim, there are more than two classes, none has that name, or a text may have
            several labels.
    """
    if positive is not None and aim is None:
        raise InputError(f"--positive needs --threshold, got --positive {positive} alone; give both")
    if names is None:
        return
    if aim is not None and task == "several_labels":
        raise InputError(
            "--threshold must be of two classes of which a text has one, got texts of several labels; leave it out: a label is "
            "said from a probability of 0.5 on"
        )
    if aim is not None and len(names) != 2:
        raise InputError(
            f"--threshold must be of two classes, got {len(names)}; leave it out: the most probable class is said"
        )
    if positive is not None and positive not in names:
        raise InputError(
            f"--positive must be one of the classes {', '.join(map(repr, names))}, got {positive!r}"
            f"{nearest(positive, names) or '; change it'}"
        )


def decisions(
    config: TrainConfig,
    features: Features,
    result: FitResult,
    *,
    aim: ThresholdAim | None = None,
    positive: str | None = None,
    test: bool = False,
) -> Decisions:
    """Fit a temperature and choose a threshold on validation.

    Args:
        config: Of the fit.
        features: What was fitted on.
        result: What came of it.
        aim: What to choose a threshold for; None chooses none.
        positive: The class that is said from the threshold on; None takes that of ``data.positive``, else the one with fewer
            training texts, of equally many the second.
        test: Whether to say what both do on the test split, too. Nothing is chosen by it.

    Raises:
        InputError: As ``check_threshold``.
        FitError: Memory ran out.
    """
    names, several = features.splits.class_names, features.splits.task == "several_labels"
    check_threshold(aim, positive, names=names, task=features.splits.task)
    validation = answer_validation(config, features, result)
    tested = answer_test(config, features, result) if test else None
    calibration = calibrate(validation, tested, several_labels=several)
    if config.metric == "quadratic_kappa":  # a model abstains by the probability of what it says
        calibration = replace(
            calibration,
            validation=replace(calibration.validation, coverage=()),
            test=calibration.test and replace(calibration.test, coverage=()),
        )
    if aim is None:
        return Decisions(calibration=calibration)
    place = names.index(positive) if positive is not None else _rarer(features)
    true_N = validation.labels_N == place
    scores_N = probabilities(validation.logits_NC, temperature=calibration.temperature)[:, place]
    chosen = best_threshold(scores_N, true_N, aim=aim)

    def effect(split: Answered) -> Effect:
        return _effect(
            split,
            {names[place]: chosen},
            names,
            aim,
            config.metric,
            temperature=calibration.temperature,
            ranked=ranked_class(config.metric, features.splits.positive),
        )

    return Decisions(
        calibration=calibration,
        threshold=Threshold(
            name=names[place],
            probability=chosen,
            aim=aim,
            validation=effect(validation),
            test=None if tested is None else effect(tested),
        ),
    )


def describe_decisions(found: Decisions, *, metric: Metric) -> Iterator[str]:
    """Say in lines what temperature and threshold do."""
    calibration = found.calibration
    splits = {"validation": calibration.validation, "the test split": calibration.test}
    if calibration.reason is not None:
        errors = [f"{s.before.error:.2%} on {name}" for name, s in splits.items() if s is not None]
        yield (
            f"temperature: none, {calibration.reason}; expected calibration error {', '.join(errors)} ({BINS})"
        )
    else:
        errors = [
            f"{s.before.error:.2%} -> {s.after.error:.2%} on {name}"
            for name, s in splits.items()
            if s is not None
        ]
        yield (
            f"temperature {calibration.temperature:g}, fitted on validation: expected calibration error {', '.join(errors)} "
            f"({BINS}); it changes no label"
        )
    threshold = found.threshold
    if threshold is None:
        return
    yield (
        f"threshold: {printable(threshold.name)!r} from a probability of {threshold.probability:.4f} on, chosen for "
        f"{aim_in_words(threshold.aim)} on validation"
    )
    for name, effect in (("validation", threshold.validation), ("the test split", threshold.test)):
        if effect is not None:
            yield (
                f"  on {name}: {aim_in_words(threshold.aim)} {_change(effect.aim)}, {METRIC_NAMES[metric]} "
                f"{_change(effect.metric)}; {effect.num_changed} of {effect.num_texts} labels change"
            )


def _rarer(features: Features) -> int:
    if features.splits.positive is not None:
        return features.splits.positive
    first, second = np.bincount(features.splits.train.labels_N, minlength=2)
    return 0 if first < second else 1


def _effect(
    split: Answered,
    thresholds: Mapping[str, float],
    names: Sequence[str],
    aim: ThresholdAim,
    metric: Metric,
    *,
    temperature: float,
    ranked: int | None,
) -> Effect:
    [name] = thresholds
    scores_NC = probabilities(split.logits_NC, temperature=temperature)
    answers = [decide(scores_NC, names, chosen) for chosen in (None, thresholds)]
    place = list(names).index(name)

    def by_aim(said_N: Labels) -> float:
        return achieved(said_N == place, split.labels_N == place, aim=aim)

    def by_metric(said_N: Labels) -> float:
        if ranked is not None:  # whatever is said, probabilities rank texts as before
            labels_N1 = one_column(split.labels_N, positive=ranked)
            return measure(Answers(labels_N1, scores_NC[:, ranked : ranked + 1]), metric=metric)
        counts_CC = np.bincount(split.labels_N * len(names) + said_N, minlength=len(names) ** 2)
        return measure(counts_CC.reshape(len(names), -1), metric=metric)

    before_N, after_N = answers
    return Effect(
        num_texts=len(split.labels_N),
        num_changed=int((before_N != after_N).sum()),
        aim=(by_aim(before_N), by_aim(after_N)),
        metric=(by_metric(before_N), by_metric(after_N)),
    )


def _change(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2%} -> {pair[1]:.2%}"
