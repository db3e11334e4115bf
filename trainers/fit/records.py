"""What a fit tells: what it cost, what each look found, what it achieved in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from trainers.fit.network import Network
from trainers.fit.ordinal import OnScale
from trainers.fit.stopping import StopReason


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a fit has taken since it began.

    Attributes:
        seconds: Wall time of it all.
        training_seconds: Of forward and backward passes and the optimiser.
        evaluation_seconds: Of forward passes in eval mode.
        batching_seconds: Of gathering and padding batches, for both.
        tokens: Tokens trained on.
        flops: Fewest floating-point operations that those passes need above the freeze depth, without
            padding; a backward pass counts as two forward passes.
    """

    seconds: float
    training_seconds: float
    evaluation_seconds: float
    batching_seconds: float
    tokens: int
    flops: float


@dataclass(frozen=True, kw_only=True)
class Evaluation(Cost):
    """One look at a fit under way.

    A full evaluation decides on stopping and may be restored. A peek is cheap, and serves pruning alone:
    the fit goes on as if it had not been. Accuracies are by the configuration's metric.

    Attributes:
        epoch: Age in epochs; a fraction inside an epoch.
        peek: Whether this is a peek.
        last: Whether the fit ends with it.
        validation_loss: Mean cross-entropy in nats, weighted by class as in training, eval mode, over the texts that
            were looked at.
        validation_accuracy: The metric's value over the same texts.
        num_validation_texts: Those texts: the first of a fixed random order, as many as it took to see whether the
            weights are the best so far (``trainers.fit.looks``). None means all.
        training_accuracy: Eval mode; exact or estimated on a fixed random sample, which doubles while
            the ceiling lies within two standard errors. A peek measures none: that of the batches just
            trained on would be free, but in train mode and of earlier weights it is far too low.
        exact: Whether the training accuracy is in eval mode over the whole split.
        training_interval: Of an estimate: Wilson's interval, 95 %. None where it is exact or not measured.
        hits: Which texts of the peeks' sample were right (``trainers.fit.hits``); None where they may have several labels.
        fold: Of a fit over folds, which one, counted from 1; else None.
    """

    epoch: float
    peek: bool
    last: bool = False
    validation_loss: float
    validation_accuracy: float
    num_validation_texts: int | None = None
    training_accuracy: float | None
    exact: bool
    training_interval: tuple[float, float] | None = None
    hits: str | None = None
    fold: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stage of a fit restored. Accuracies are by the configuration's metric.

    Attributes:
        freeze_depth: Of the stage.
        validation_accuracy: Whole validation split.
        training_accuracy: Whole training split.
        epochs: How long the stage took.
    """

    freeze_depth: int
    validation_accuracy: float
    training_accuracy: float
    epochs: float


@dataclass(frozen=True, kw_only=True)
class FitResult(Cost):
    """What a fit achieved with the weights it restored. Accuracies are by the configuration's metric.

    Validation figures are NaN where no text was left out of training (``stop_at``).

    Attributes:
        network: With the restored weights, in eval mode.
        validation_loss: Of the restored weights, as everything below.
        validation_accuracy: Whole validation split.
        training_accuracy: Eval mode, whole training split, or an estimate that lies surely below the ceiling.
        training_exact: Which of the two; without ``to_beat`` it is always exact.
        training_interval: As of an evaluation.
        best_epoch: Age of the restored weights.
        epochs: How far the fit got.
        stopped: What ended it; ``epochs`` is the planned end.
        evaluations: The full ones, in order of age.
        stages: Of a fit in two stages, what each restored; empty for any other.
        best_epochs: Age of the restored weights in each stage, from the stage's start.
        hits: Which validation texts of the peeks' sample were right; None where they may have several labels.
        on_scale: Of steps of a scale: accuracy, quadratic kappa and mean absolute error on the whole validation split; None
            elsewhere.
        label_f1: Of several labels the F1 of each on the whole validation split, by its name; None elsewhere. Of one that no text
            has and none was given there is none.
    """

    network: Network
    validation_loss: float
    validation_accuracy: float
    training_accuracy: float
    training_exact: bool = True
    training_interval: tuple[float, float] | None = None
    best_epoch: float
    epochs: float
    stopped: StopReason | Literal["epochs"]
    evaluations: tuple[Evaluation, ...]
    stages: tuple[Stage, ...] = ()
    best_epochs: tuple[float, ...] = ()
    hits: str | None = None
    on_scale: OnScale | None = None
    label_f1: Mapping[str, float | None] | None = None

    @property
    def is_refit(self) -> bool:
        """Whether no text was left out of training to validate it."""
        return math.isnan(self.validation_accuracy)

    def figures(self) -> dict[str, Any]:
        """Return accuracies, loss, ages and cost by name."""
        apart = {"network", "evaluations", "best_epochs", "hits", "on_scale", "label_f1"}
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        beside: dict[str, Any] = {} if self.on_scale is None else {"on_scale": self.on_scale.plain()}
        if self.label_f1 is not None:
            beside["label_f1"] = dict(self.label_f1)
        return {**figures, "stages": [asdict(stage) for stage in self.stages], **beside}
