"""fit(config, features) -> FitResult: one fine-tune, from the first step to the restored best weights.

Shapes: B texts, T tokens of the longest one, D hidden size, N texts, C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from trainers.config import TrainConfig
from trainers.errors import FitError, InputError
from trainers.fit.batching import Indices, shuffled_batches
from trainers.fit.device import clock, generators, named_failures
from trainers.fit.features import Features
from trainers.fit.head_start import fit_head, head_rounds, pooled_splits
from trainers.fit.inputs import Batch, SplitInputs
from trainers.fit.looks import Looks, Measurement
from trainers.fit.losses import class_weights, mean_loss
from trainers.fit.network import Network
from trainers.fit.precision import pinned
from trainers.fit.records import Cost, Evaluation, FitResult, Stage
from trainers.fit.samples import Sample
from trainers.fit.stopping import StopReason


def fit(
    config: TrainConfig,
    features: Features,
    *,
    peeks: Sequence[float] = (),
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
    to_beat: float | None = None,
) -> FitResult:
    """Fine-tune the encoder of ``features`` as ``config`` says.

    The result depends on ``config``, the machine and, in its last bits, on what is stored: random numbers come from
    ``config.seed``, sums are split over ``config.threads``, and the caller's generators and threads are left as they
    were. Frozen layers that are run live see other batches than those that were stored, and may round otherwise.

    Args:
        config: Everything that decides the fit.
        features: Encoder, splits and stored features.
        peeks: Ages in epochs at which to peek, unless a full evaluation is due there anyway.
        on_evaluation: Called after each evaluation and peek; what it raises ends the fit.
        to_beat: Validation score below which the restored weights' training score may be an estimate, where that
            lies surely below the ceiling; None means that it is always exact. The weights do not depend on it, unless a
            sample misleads by five standard errors.

    Raises:
        FitError: The loss diverged or memory ran out.
        InputError: The freeze depth exceeds the encoder's layers, the encoder is on another device, or it is folds that are
            to be fitted.
    """
    if config.data.folds is not None and config.stop_at is None:
        raise InputError(
            f"a single fit with data.folds = {config.data.folds} must know from stop_at how long it takes, got none: an exported "
            "winner.toml has it; or set data.validation in place of data.folds"
        )
    for stage in (config, config.last_stage):
        if stage.freeze_depth > features.encoder.num_layers:
            raise InputError(
                f"freeze_depth must be at most {features.encoder.num_layers}, the layers of "
                f"{features.encoder.name!r}, got {stage.freeze_depth}; lower it"
            )
    if config.device != features.encoder.device:
        raise InputError(
            f"device must be {features.encoder.device!r}, where {features.encoder.name!r} was loaded, got "
            f"{config.device!r}; load it there"
        )
    config = pinned(config)
    if config.precision != features.precision:
        raise InputError(
            f"precision must be {features.precision!r}, in which the features were computed, got "
            f"{config.precision!r}; compute them again"
        )
    with (
        torch.random.fork_rng(devices=generators(config.device)),
        threads(config.threads),
        named_failures(config.device),
    ):
        result = _Fit(config, features, peeks, on_evaluation).run(None if config.thaw else to_beat)
        if config.thaw is None:
            return replace(result, best_epochs=(result.best_epoch,))
        second = _Fit(config.last_stage, features, (), on_evaluation, since=result).run(to_beat)
        stages = (_stage(config, result, since=0.0), _stage(config.last_stage, second, since=result.epochs))
        return replace(
            second,
            evaluations=(*result.evaluations, *second.evaluations),
            stages=stages,
            best_epochs=(result.best_epoch, second.best_epoch - result.epochs),
        )


def _stage(config: TrainConfig, result: FitResult, *, since: float) -> Stage:
    return Stage(
        freeze_depth=config.freeze_depth,
        validation_accuracy=result.validation_accuracy,
        training_accuracy=result.training_accuracy,
        epochs=result.epochs - since,
    )


class _Fit:
    """The state of one fit under way, or of one stage of it.

    Args:
        config: What to fit.
        features: What is read.
        peeks: As for ``fit``.
        on_evaluation: As for ``fit``.
        since: What the stage before restored; its head is gone on with.
    """

    def __init__(
        self,
        config: TrainConfig,
        features: Features,
        peeks: Sequence[float],
        on_evaluation: Callable[[Evaluation], None],
        since: FitResult | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self.since = since
        config = config.with_head_start(features.encoder.num_layers)
        asked, rounds = config, None
        if config.stop_at is not None:
            if config.head_start == "fitted":
                rounds = head_rounds(features, config)
            # Nothing is left out of training to look at: training texts stand in, and decide nothing.
            every = np.arange(len(features.splits.train))
            features = features.of_rows(train=every, validation=every)
            config = config.model_copy(update={"patience": None, "ceiling": None})
        self.config = config
        self.on_evaluation = on_evaluation
        self.peeks = peeks
        self.pooled = pooled_splits(features, config) if config.head_start != "random" else None
        torch.manual_seed(config.seed)
        self.train = features.inputs("train", config.freeze_depth)
        self.validation = features.inputs("validation", config.freeze_depth)
        self.class_names = features.splits.class_names
        num_classes = len(self.class_names)
        self.network = Network(features.encoder, config, start=self.train.depth, num_classes=num_classes).to(
            config.device
        )
        self.generator = np.random.default_rng(config.seed)
        self.evaluations: list[Evaluation] = []
        self.train_flops_N = self._flops(features, self.train)
        self.validation_flops_N = self._flops(features, self.validation)
        self.training_seconds = self.batching_seconds = 0.0
        self.tokens = 0
        self.flops = 0.0
        self.weights_C = None
        weights_C = class_weights(config, features.splits.train.labels_N, names=features.splits.class_names)
        if weights_C is not None:
            self.weights_C = torch.from_numpy(weights_C).float().to(config.device)
        self.train_sample = Sample(self.train, seed=config.data.seed)
        self.validation_sample = Sample(self.validation, seed=config.data.seed)
        self.looks = Looks(
            self.network,
            config,
            train=self.train_sample,
            validation=self.validation_sample,
            weights_C=self.weights_C,
            num_classes=num_classes,
            positive=features.splits.positive,
            ordered=features.splits.ordered,
        )
        self.head_is_fitted = False
        if self.pooled is not None:
            began = time.perf_counter()
            train, validation = self.pooled
            self.head_is_fitted = fit_head(
                self.network.head,
                asked,
                train=train,
                validation=validation,
                weights_C=self.weights_C,
                rounds=rounds,
                positive=features.splits.positive,
            )
            self.training_seconds += clock(config.device) - began
        if since is not None:
            self.network.head.load_state_dict(since.network.head.state_dict())

    def run(self, to_beat: float | None) -> FitResult:
        """Train and evaluate until the planned end or a reason to stop, and restore the best weights."""
        if self.config.stop_at is not None:
            return self._run_to(self.config.stop_at[0])
        stopped: StopReason | Literal["epochs"] = "epochs"
        if self.head_is_fitted:
            self._evaluate(0.0, self.pooled)
        self.pooled = None
        for epoch in self._train():
            reason = self._evaluate(epoch)
            if reason is not None:
                stopped = reason
                break
        return self._restore(stopped, to_beat)

    def _run_to(self, end: float) -> FitResult:
        """Train until an age and keep the last weights; looks on the way are at training texts, and decide nothing."""
        self.pooled = None
        age = 0.0
        for epoch in self._train() if end else ():
            age = epoch
            if age >= end:
                break
            found = self.looks.peek()
            seen = replace(found, training_score=found.validation_score)
            self.on_evaluation(self._unvalidated(self._evaluation(age, seen, is_peek=True, is_last=False)))
        found = self.looks.evaluate()
        evaluation = self._evaluation(age, found, is_peek=False, is_last=self.config.thaw is None)
        self.evaluations.append(self._unvalidated(evaluation))
        self.on_evaluation(self.evaluations[-1])
        result = self._restore("epochs", None)
        return replace(
            result,
            validation_loss=math.nan,
            validation_accuracy=math.nan,
            hits=None,
            on_scale=None,
            label_f1=None,
        )

    def _unvalidated(self, evaluation: Evaluation) -> Evaluation:
        return replace(
            evaluation,
            validation_loss=math.nan,
            validation_accuracy=math.nan,
            num_validation_texts=None,
            hits=None,
        )

    def _train(self) -> Iterator[float]:
        """Train, pausing wherever a full evaluation is due; yields the age in epochs."""
        config = self.config
        steps = math.ceil(len(self.train) / config.batch_size)
        optimizer, scheduler = self._optimizer(steps * config.epochs)
        evaluations, peeks = self._timetable(steps)
        step = 0
        for _ in range(config.epochs):
            for rows in shuffled_batches(
                self.train.lengths_N, batch_size=config.batch_size, generator=self.generator
            ):
                self._step(rows, optimizer)
                scheduler.step()
                step += 1
                if step in evaluations:
                    yield evaluations[step]
                elif step in peeks:
                    self._peek(peeks[step])

    def _timetable(self, steps: int) -> tuple[dict[int, float], dict[int, float]]:
        """Map steps to ages in epochs: where full evaluations are due, and where peeks are."""
        looks = min(self.config.evaluations_per_epoch, steps)
        ages = [i / looks for i in range(1, looks * self.config.epochs + 1)]
        return {round(steps * a): a for a in ages}, {max(1, round(steps * a)): a for a in self.peeks}

    def _step(self, rows: Indices, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        began = time.perf_counter()
        batch = self.train.batch(rows)
        batched = time.perf_counter()
        logits_BC = self.network(batch)
        loss = mean_loss(
            logits_BC,
            batch.labels_B,
            weights_C=self.weights_C,
            label_smoothing=self.config.label_smoothing,
            gamma=self.config.gamma,
        )
        if not math.isfinite(loss.item()):
            raise FitError(
                f"diverged: training loss {loss.item()} at learning rate {self.config.learning_rate:g}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self.batching_seconds += batched - began
        self.training_seconds += clock(self.config.device) - batched
        self.flops += 3 * float(self.train_flops_N[rows].sum())
        self.tokens += int(self.train.lengths_N[rows].sum())

    def _optimizer(
        self, num_steps: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        config = self.config
        groups = []
        for name, parameter in self.network.named_parameters():
            rate = config.learning_rate
            if name.startswith("head."):
                rate *= config.head_learning_rate_ratio
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
        optimizer = torch.optim.AdamW(groups, fused=True)
        warmup_steps = round(config.warmup * num_steps)

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / (warmup_steps + 1)
            if config.schedule == "constant":
                return 1.0
            return (num_steps - step) / max(1, num_steps - warmup_steps)

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def _evaluate(self, epoch: float, pooled: tuple[Batch, Batch] | None = None) -> StopReason | None:
        """Evaluate, report it, and return why to stop, or None to go on."""
        found = self.looks.evaluate(pooled)
        reason = self.looks.reason_to_stop() if epoch else None
        is_last = self.config.thaw is None and (reason is not None or epoch >= self.config.epochs)
        evaluation = self._evaluation(epoch, found, is_peek=False, is_last=is_last)
        self.evaluations.append(evaluation)
        self.on_evaluation(evaluation)
        return reason

    def _peek(self, epoch: float) -> None:
        self.on_evaluation(self._evaluation(epoch, self.looks.peek(), is_peek=True, is_last=False))

    def _evaluation(self, epoch: float, found: Measurement, *, is_peek: bool, is_last: bool) -> Evaluation:
        return Evaluation(
            epoch=epoch + (self.since.epochs if self.since else 0.0),
            peek=is_peek,
            last=is_last,
            validation_loss=found.validation_loss,
            validation_accuracy=found.validation_score,
            num_validation_texts=found.num_validation_texts,
            training_accuracy=found.training_score,
            exact=found.training_exact,
            training_interval=found.training_interval,
            hits=found.hits,
            **self._cost(),
        )

    def _cost(self) -> dict[str, Any]:
        train, validation = self.train_sample, self.validation_sample
        looked = self.train_flops_N @ train.num_runs_N + self.validation_flops_N @ validation.num_runs_N
        own = Cost(
            seconds=time.perf_counter() - self.started,
            training_seconds=self.training_seconds,
            evaluation_seconds=train.seconds + validation.seconds,
            batching_seconds=self.batching_seconds + train.batching_seconds + validation.batching_seconds,
            tokens=self.tokens,
            flops=self.flops + float(looked),
        )
        return {name: value + getattr(self.since, name, 0) for name, value in asdict(own).items()}

    def _restore(self, stopped: StopReason | Literal["epochs"], to_beat: float | None) -> FitResult:
        best, found = self.looks.restore(to_beat=to_beat)
        assert found.training_score is not None  # noqa: S101
        return FitResult(
            network=self.network.eval(),
            validation_loss=found.validation_loss,
            validation_accuracy=found.validation_score,
            training_accuracy=found.training_score,
            training_exact=found.training_exact,
            training_interval=found.training_interval,
            hits=found.hits,
            best_epoch=self.evaluations[best].epoch,
            epochs=self.evaluations[-1].epoch,
            stopped=stopped,
            evaluations=tuple(self.evaluations),
            on_scale=found.on_scale,
            label_f1=None
            if found.label_f1 is None
            else dict(zip(self.class_names, found.label_f1, strict=True)),
            **self._cost(),
        )

    def _flops(self, features: Features, inputs: SplitInputs) -> npt.NDArray[np.float64]:
        """Return what a forward pass of each text needs above the freeze depth, flops_N."""
        layers = features.encoder.num_layers - self.config.freeze_depth
        return layers * features.encoder.layer_flops(inputs.lengths_N)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads inside a ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
