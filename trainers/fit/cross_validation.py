"""fit_folds(config, features) -> FoldsResult: one fit a fold, one after the other; what their model is fitted with; what they answer.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean
from typing import Any

import numpy as np

from trainers.config import TrainConfig
from trainers.data import fold_rows
from trainers.fit.calibration import Answered
from trainers.fit.features import Features
from trainers.fit.holdout import answer_validation
from trainers.fit.loop import fit
from trainers.fit.records import Cost, Evaluation
from trainers.fit.stopping import StopReason


@dataclass(frozen=True, kw_only=True)
class FoldResult(Cost):
    """What the fit of one fold achieved; its cost is that of all folds so far.

    Attributes:
        fold: Counted from 1.
        validation_loss: Of the restored weights on the fold's texts, as everything below.
        validation_accuracy: By the configuration's metric.
        training_accuracy: On all texts of the other folds.
        best_epochs: Age of the restored weights in each stage of the fit, from the stage's start.
        best_epoch: Age of the restored weights.
        epochs: How far the fit got.
        stopped: What ended it.
        hits: Which of the fold's texts were right, of a sample that is the same for every fit (``trainers.fit.hits``); None
            where they may have several labels.
    """

    fold: int
    validation_loss: float
    validation_accuracy: float
    training_accuracy: float
    best_epochs: tuple[float, ...]
    best_epoch: float
    epochs: float
    stopped: StopReason | str
    hits: str | None


@dataclass(frozen=True)
class FoldsResult:
    """What the fits of all folds achieved.

    Attributes:
        folds: One entry each.
    """

    folds: tuple[FoldResult, ...]

    def figures(self) -> dict[str, Any]:
        """Return figures as ``FitResult.figures`` does: means over the folds, sums of costs, and ``folds`` themselves."""
        return figures_of_folds(self.folds) | {"folds": [asdict(fold) for fold in self.folds]}


def figures_of_folds(folds: Sequence[FoldResult]) -> dict[str, Any]:
    """Return means over folds, and what they cost together; what ended most of them counts as what ended them."""
    means = ("validation_loss", "validation_accuracy", "training_accuracy", "best_epoch", "epochs")
    return {
        **{name: fmean(getattr(fold, name) for fold in folds) for name in means},
        **{f.name: getattr(folds[-1], f.name) for f in fields(Cost)},
        "training_exact": True,
        "training_interval": None,
        "stopped": Counter(fold.stopped for fold in folds).most_common(1)[0][0],
        "stages": [],
    }


def fit_folds(
    config: TrainConfig,
    features: Features,
    *,
    peeks: Sequence[float] = (),
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
    on_fold: Callable[[FoldResult], None] = lambda _: None,
) -> FoldsResult:
    """Fit once a fold, each time on the texts of the others, from the same random numbers.

    Args:
        config: With ``data.folds``.
        features: Of all texts that the folds share.
        peeks: As for ``fit``, in the first fold.
        on_evaluation: As for ``fit``; evaluations are marked with the fold, and cost what all folds cost so far.
        on_fold: Called after each fold; what it raises ends the fit.

    Raises:
        FitError: The loss diverged or memory ran out.
        InputError: As for ``fit``.
    """
    single = _single(config)
    pool = features.splits
    done: list[FoldResult] = []
    for number, (train, validation) in enumerate(
        fold_rows(pool.train.labels_N, pool.clusters_N, config.data), start=1
    ):

        def placed(evaluation: Evaluation, number: int = number) -> None:
            on_evaluation(replace(evaluation, fold=number, **_sum(evaluation, done)))

        result = fit(
            single,
            features.of_rows(train=train, validation=validation),
            peeks=peeks if number == 1 else (),
            on_evaluation=placed,
        )
        fold = FoldResult(
            fold=number,
            validation_loss=result.validation_loss,
            validation_accuracy=result.validation_accuracy,
            training_accuracy=result.training_accuracy,
            best_epochs=result.best_epochs,
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            stopped=result.stopped,
            hits=result.hits,
            **_sum(result, done),
        )
        done.append(fold)
        on_fold(fold)
    return FoldsResult(tuple(done))


def answer_folds(config: TrainConfig, features: Features) -> Answered:
    """Return what fits of the other folds answer on each fold's texts, in the order of the texts that all folds share.

    Args:
        config: With ``data.folds``; where it says when to stop, each fit ends as in a search all the same.
        features: As for ``fit_folds``.

    Raises:
        FitError: The loss diverged or memory ran out.
        InputError: As for ``fit``.
    """
    single, pool = _single(config), features.splits.train
    logits_NC = np.empty((len(pool), len(features.splits.class_names)))
    for train, validation in fold_rows(pool.labels_N, features.splits.clusters_N, config.data):
        view = features.of_rows(train=train, validation=validation)
        logits_NC[validation] = answer_validation(single, view, fit(single, view)).logits_NC
    return Answered(logits_NC, pool.labels_N)


def _single(config: TrainConfig) -> TrainConfig:
    """Return the configuration of a fold's fit, which has a validation split."""
    data = config.data.model_copy(update={"folds": None, "fold_seed": None})
    return config.model_copy(update={"data": data, "stop_at": None})


def refit_config(config: TrainConfig, folds: Sequence[FoldResult]) -> TrainConfig:
    """Return what fits all texts but those of the test split for as long as the folds took, on average, to their best.

    That is rounded to the ages at which a fit is evaluated.
    """
    ages = mean_ages([fold.best_epochs for fold in folds], looks=config.evaluations_per_epoch)
    return config.model_copy(update={"stop_at": tuple(ages)})


def mean_ages(best_epochs: Sequence[Sequence[float]], *, looks: int) -> list[float]:
    """Return the mean over folds of the age of the best weights in each stage, rounded to one of ``looks`` an epoch."""
    return [round(fmean(ages) * looks) / looks for ages in zip(*best_epochs, strict=True)]


def _sum(cost: Cost, done: Sequence[FoldResult]) -> dict[str, Any]:
    before = done[-1] if done else None
    return {f.name: getattr(cost, f.name) + getattr(before, f.name, 0) for f in fields(Cost)}
