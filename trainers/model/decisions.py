"""How a fitted model turns logits into answers: its temperature and its thresholds, all chosen on validation.

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
    answer_folds,
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
from trainers.model.effect import Effect, describe_effects
from trainers.model.label_thresholds import (
    LabelThresholds,
    choose_label_thresholds,
    describe_label_thresholds,
)

if TYPE_CHECKING:
    from trainers.config import TrainConfig
    from trainers.fit import Features, FitResult

BINS = "15 bins of equally many texts"


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
    """A model's temperature and, if they were asked for, its thresholds.

    Attributes:
        calibration: What its probabilities are worth.
        threshold: Of two classes.
        labels: Of several labels a text.
        folds: How many fits of the other folds answered for the texts that all this was chosen by; None where there is a
            validation split.
    """

    calibration: Calibration
    threshold: Threshold | None = None
    labels: LabelThresholds | None = None
    folds: int | None = None

    @property
    def thresholds(self) -> Mapping[str, float]:
        """As ``assemble`` takes them."""
        if self.labels is not None:
            return self.labels.moved
        return {} if self.threshold is None else {self.threshold.name: self.threshold.probability}

    @property
    def chosen_on(self) -> str:
        """Name the texts that all this was chosen by."""
        return "validation" if self.folds is None else f"{self.folds} folds"


def check_threshold(
    aim: ThresholdAim | None,
    positive: str | None,
    *,
    names: Sequence[str] | None = None,
    task: Task = "one_label",
    mark: str = "--",
) -> None:
    """Check, before anything is fitted, that a threshold can be chosen.

    Args:
        aim: As for ``decisions``.
        positive: Likewise.
        names: Of the classes; None before they are known.
        task: Whether a text has one label or several.
        mark: What stands before the names of options.

    Raises:
        InputError: A class is given without an aim, or beside several labels, there are more than two classes, or none has that
            name.
    """
    if positive is not None and aim is None:
        raise InputError(
            f"{mark}positive needs {mark}threshold, got {mark}positive {positive} alone; give both"
        )
    if names is None:
        return
    if positive is not None and task == "several_labels":
        raise InputError(
            f"{mark}positive must be one of two classes of which a text has one, got {positive!r} for texts of several labels, each "
            "of which has a threshold of its own; leave it out"
        )
    if aim is not None and task == "one_label" and len(names) != 2:
        raise InputError(
            f"{mark}threshold must be of two classes, or of several labels a text, got {len(names)} classes; leave it out: the most "
            "probable class is said"
        )
    if positive is not None and positive not in names:
        raise InputError(
            f"{mark}positive must be one of the classes {', '.join(map(repr, names))}, got {positive!r}"
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
    scale: bool = True,
) -> Decisions | None:
    """Fit a temperature and choose thresholds on validation.

    Of a model that was fitted on all folds, fits of the others answer for each fold, if thresholds are asked for. If they are
    not, no text was left out of training, and None is returned.

    Args:
        config: Of the fit.
        features: What was fitted on.
        result: What came of it.
        aim: What to choose thresholds for; None chooses none.
        positive: The class that is said from the threshold on; None takes that of ``data.positive``, else the one with fewer
            training texts, of equally many the second.
        test: Whether to say what both do on the test split, too. Nothing is chosen by it.
        scale: Whether to look for a temperature.

    Raises:
        InputError: As ``check_threshold``.
        FitError: Memory ran out, or a fit of the folds diverged.
    """
    names, task = features.splits.class_names, features.splits.task
    check_threshold(aim, positive, names=names, task=task)
    if result.is_refit and aim is None:
        return None
    if result.is_refit:
        validation, folds = answer_folds(config, features), config.data.folds
    else:
        validation, folds = answer_validation(config, features, result), None
    tested = answer_test(config, features, result) if test else None
    calibration = calibrate(validation, tested, several_labels=task == "several_labels", scale=scale)
    if config.metric == "quadratic_kappa":  # a model abstains by the probability of what it says
        calibration = replace(
            calibration,
            validation=replace(calibration.validation, coverage=()),
            test=calibration.test and replace(calibration.test, coverage=()),
        )
    found = Decisions(calibration=calibration, folds=folds)
    if aim is None:
        return found
    if task == "several_labels":
        labels = choose_label_thresholds(
            validation, tested, names, aim=aim, metric=config.metric, temperature=calibration.temperature
        )
        return replace(found, labels=labels)
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

    threshold = Threshold(
        name=names[place],
        probability=chosen,
        aim=aim,
        validation=effect(validation),
        test=None if tested is None else effect(tested),
    )
    return replace(found, threshold=threshold)


def describe_decisions(found: Decisions | None, *, metric: Metric) -> Iterator[str]:
    """Say in lines what temperature and threshold do."""
    if found is None:
        yield "temperature: none, since no text was left out of training to fit it on"
        return
    calibration, on = found.calibration, found.chosen_on
    if found.folds is not None:
        yield f"temperature and thresholds: {found.folds} fits, each of the other folds, answered for each fold's texts"
    splits = {on: calibration.validation, "the test split": calibration.test}
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
            f"temperature {calibration.temperature:g}, fitted on {on}: expected calibration error {', '.join(errors)} "
            f"({BINS}); it changes no label"
        )
    if found.labels is not None:
        yield from describe_label_thresholds(found.labels, metric=metric, on=on)
    threshold = found.threshold
    if threshold is None:
        return
    yield (
        f"threshold: {printable(threshold.name)!r} from a probability of {threshold.probability:.4f} on, chosen for "
        f"{aim_in_words(threshold.aim)} on {on}"
    )
    yield from describe_effects(
        aim_in_words(threshold.aim), METRIC_NAMES[metric], threshold.validation, threshold.test, on=on
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
