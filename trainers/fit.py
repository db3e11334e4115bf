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
from torch import Tensor
from torch.nn import functional as F

from trainers.batching import Rows, shuffled_batches, sorted_batches
from trainers.config import TrainConfig
from trainers.device import clock, generators, named_failures
from trainers.errors import FitError, InputError
from trainers.features import Features
from trainers.head_start import fit_head, pooled_splits
from trainers.hits import packed
from trainers.inputs import Source
from trainers.metrics import (
    Confusion,
    balanced_weights,
    confusion,
    cross_entropy,
    is_clear_of,
    measure,
)
from trainers.network import Network
from trainers.precision import pinned
from trainers.records import Cost, Evaluation, FitResult, Stage
from trainers.stopping import EarlyStopping, StopReason

PEEK_TEXTS = 300
"""Validation texts that a peek between evaluations looks at."""

FIRST_SAMPLE = 300
"""Training texts looked at first, to tell whether the training accuracy is near the ceiling."""

KEPT_CHECKPOINTS = 3
"""Candidates whose weights are kept, should the exact training accuracy rule the first ones out."""


def fit(
    config: TrainConfig,
    features: Features,
    *,
    peeks: Sequence[float] = (),
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
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

    Raises:
        FitError: The loss diverged or memory ran out.
        InputError: The freeze depth exceeds the encoder's layers, or the encoder is on another device.
    """
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
        result = _Fit(config, features, peeks, on_evaluation).run()
        if config.thaw is None:
            return result
        second = _Fit(config.last_stage, features, (), on_evaluation, since=result).run()
        stages = (_stage(config, result, since=0.0), _stage(config.last_stage, second, since=result.epochs))
        return replace(second, evaluations=(*result.evaluations, *second.evaluations), stages=stages)


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
        on_evaluation: Likewise.
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
        self.config = config
        self.on_evaluation = on_evaluation
        self.peeks = peeks
        pooled = pooled_splits(features, config) if config.head_start == "fitted" else None
        torch.manual_seed(config.seed)
        self.train = features.source("train", config.freeze_depth)
        self.validation = features.source("validation", config.freeze_depth)
        self.network = Network(
            features.encoder,
            config,
            start=self.train.depth,
            num_classes=len(features.splits.class_names),
        ).to(config.device)
        self.stopping = EarlyStopping(patience=config.patience, ceiling=config.ceiling)
        self.generator = np.random.default_rng(config.seed)
        self.sample = np.random.default_rng(config.data.seed).permutation(len(self.train))
        validation_order = np.random.default_rng(config.data.seed).permutation(len(self.validation))
        self.peek_rows = validation_order[:PEEK_TEXTS]
        self.evaluations: list[Evaluation] = []
        self.samples: list[Confusion] = []  # of each evaluation: the training texts looked at
        self.checkpoints: dict[int, dict[str, Tensor]] = {}
        self.train_flops_N = self._flops(features, self.train)
        self.validation_flops_N = self._flops(features, self.validation)
        self.training_seconds = self.evaluation_seconds = self.batching_seconds = 0.0
        self.tokens = 0
        self.flops = 0.0
        num_classes = len(features.splits.class_names)
        self.weights_C = None
        if config.class_weights:
            weights_C = balanced_weights(features.splits.train.labels_N, num_classes=num_classes)
            self.weights_C = torch.from_numpy(weights_C).float().to(config.device)
        self.nothing_seen: Confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.head_is_fitted = False
        if pooled is not None:
            began = time.perf_counter()
            self.head_is_fitted = fit_head(
                self.network.head, config, train=pooled[0], validation=pooled[1], weights_C=self.weights_C
            )
            self.training_seconds += clock(config.device) - began
        if since is not None:
            self.network.head.load_state_dict(since.network.head.state_dict())

    def run(self) -> FitResult:
        """Train and evaluate until the planned end or a reason to stop, and restore the best weights."""
        stopped: StopReason | Literal["epochs"] = "epochs"
        if self.head_is_fitted:
            self._evaluate(0.0)
        for epoch in self._train():
            self._evaluate(epoch)
            reason = self.stopping.reason_to_stop(*self._history())
            if reason is not None:
                stopped = reason
                break
        return self._restore(stopped)

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

    def _step(self, rows: Rows, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        began = time.perf_counter()
        batch = self.train.batch(rows)
        batched = time.perf_counter()
        logits_BC = self.network(batch)
        loss = F.cross_entropy(
            logits_BC,
            batch.labels_B,
            weight=self.weights_C,
            label_smoothing=self.config.label_smoothing,
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

    def _evaluate(self, epoch: float) -> None:
        self.network.eval()
        evaluation = self._look(epoch, None, self._training_accuracy)
        self.evaluations.append(evaluation)
        self._keep_checkpoint()
        self.on_evaluation(evaluation)

    def _peek(self, epoch: float) -> None:
        self.network.eval()
        self.on_evaluation(self._look(epoch, self.peek_rows, lambda: (None, False)))

    def _look(
        self, epoch: float, rows: Rows | None, training_accuracy: Callable[[], tuple[float | None, bool]]
    ) -> Evaluation:
        logits_NC, labels_N = self._predict(self.validation, rows)
        self.flops += float(self.validation_flops_N[slice(None) if rows is None else rows].sum())
        loss = cross_entropy(logits_NC, labels_N, weights_C=self.weights_C)
        if not math.isfinite(loss):
            raise FitError(f"diverged: validation loss {loss} at learning rate {self.config.learning_rate:g}")
        accuracy_in_training, exact = training_accuracy()
        return Evaluation(
            epoch=epoch + (self.since.epochs if self.since else 0.0),
            peek=rows is not None,
            validation_loss=loss,
            validation_accuracy=self._measure(confusion(logits_NC, labels_N)),
            training_accuracy=accuracy_in_training,
            exact=exact,
            hits=self._hits(logits_NC, labels_N, rows),
            **self._cost(),
        )

    def _hits(self, logits_NC: Tensor, labels_N: Tensor, rows: Rows | None) -> str:
        """Tell which texts of the peeks' sample are right, in its order; what was predicted came in batches by length."""
        lengths_N = self.validation.lengths_N[slice(None) if rows is None else rows]
        hits_N = np.empty(len(lengths_N), dtype=bool)
        hits_N[np.concatenate(sorted_batches(lengths_N))] = (logits_NC.argmax(dim=1) == labels_N).numpy()
        return packed(hits_N[self.peek_rows] if rows is None else hits_N)

    def _cost(self) -> dict[str, Any]:
        own = Cost(
            seconds=time.perf_counter() - self.started,
            training_seconds=self.training_seconds,
            evaluation_seconds=self.evaluation_seconds,
            batching_seconds=self.batching_seconds,
            tokens=self.tokens,
            flops=self.flops,
        )
        return {name: value + getattr(self.since, name, 0) for name, value in asdict(own).items()}

    def _training_accuracy(self) -> tuple[float, bool]:
        """Return the training accuracy in eval mode, and whether it is over the whole split.

        A sequential look: the sample doubles while the ceiling lies within two standard errors.
        """
        counts_CC = self.nothing_seen
        seen, size = 0, FIRST_SAMPLE
        while True:
            size = min(size, len(self.train))
            counts_CC = counts_CC + self._confusion_in_sample(seen, size)
            seen = size
            ceiling, metric = self.config.ceiling, self.config.metric
            decided = ceiling is None or is_clear_of(ceiling, counts_CC, metric=metric)
            if decided or seen == len(self.train):
                self.samples.append(counts_CC)
                return self._measure(counts_CC), seen == len(self.train)
            size = 2 * seen

    def _confusion_in_sample(self, start: int, end: int) -> Confusion:
        """Count the training texts from ``start`` to ``end``, in the sample's order, by class and prediction."""
        rows = self.sample[start:end]
        logits_NC, labels_N = self._predict(self.train, rows)
        self.flops += float(self.train_flops_N[rows].sum())
        return confusion(logits_NC, labels_N)

    def _measure(self, counts_CC: Confusion) -> float:
        return measure(counts_CC, metric=self.config.metric)

    def _history(self) -> tuple[list[float], list[float]]:
        return (
            [e.validation_loss for e in self.evaluations],
            [e.training_accuracy for e in self.evaluations if e.training_accuracy is not None],
        )

    def _keep_checkpoint(self) -> None:
        wanted = self.stopping.preference(*self._history())[:KEPT_CHECKPOINTS]
        self.checkpoints = {i: c for i, c in self.checkpoints.items() if i in wanted}
        latest = len(self.evaluations) - 1
        if latest in wanted:
            self.checkpoints[latest] = {k: v.clone() for k, v in self.network.state_dict().items()}

    def _restore(self, stopped: StopReason | Literal["epochs"]) -> FitResult:
        """Load the most wanted weights whose exact training accuracy keeps under the ceiling.

        If none does, the most wanted ones.
        """
        ceiling = self.config.ceiling
        losses, accuracies = self._history()
        candidates = [i for i in self.stopping.preference(losses, accuracies) if i in self.checkpoints]
        exact: dict[int, float] = {}
        for i in candidates:
            if ceiling is not None and exact and accuracies[i] > ceiling:
                break  # only candidates that looked feasible are worth a second look
            exact[i] = self._exact_training_accuracy(i)
            if ceiling is None or exact[i] <= ceiling:
                break
        best = next((i for i in exact if ceiling is not None and exact[i] <= ceiling), candidates[0])
        self.network.load_state_dict(self.checkpoints[best])
        chosen = self.evaluations[best]
        return FitResult(
            network=self.network.eval(),
            validation_loss=chosen.validation_loss,
            validation_accuracy=chosen.validation_accuracy,
            training_accuracy=exact[best],
            best_epoch=chosen.epoch,
            epochs=self.evaluations[-1].epoch,
            stopped=stopped,
            evaluations=tuple(self.evaluations),
            **self._cost(),
        )

    def _exact_training_accuracy(self, index: int) -> float:
        """Return what an evaluation's sample and the rest of the split, with its weights, come to."""
        counts_CC = self.samples[index]
        seen = int(counts_CC.sum())
        if seen < len(self.train):
            self.network.load_state_dict(self.checkpoints[index])
            self.network.eval()
            counts_CC = counts_CC + self._confusion_in_sample(seen, len(self.train))
        return self._measure(counts_CC)

    @torch.inference_mode()
    def _predict(self, source: Source, rows: Rows | None = None) -> tuple[Tensor, Tensor]:
        """Return logits_NC and labels_N of the texts ``rows`` (None: all), in batches by length."""
        rows = np.arange(len(source)) if rows is None else rows
        logits, labels = [], []
        started, batching_seconds = time.perf_counter(), 0.0
        for part in sorted_batches(source.lengths_N[rows]):
            began = time.perf_counter()
            batch = source.batch(rows[part])
            batching_seconds += time.perf_counter() - began
            logits.append(self.network(batch))
            labels.append(batch.labels_B)
        # A GPU still computes: its clock is read once all is there, so as not to hold it up batch by batch.
        logits_NC, labels_N = torch.cat(logits).cpu(), torch.cat(labels).cpu()
        self.batching_seconds += batching_seconds
        self.evaluation_seconds += time.perf_counter() - started - batching_seconds
        return logits_NC, labels_N

    def _flops(self, features: Features, source: Source) -> npt.NDArray[np.float64]:
        """Return what a forward pass of each text needs above the freeze depth, flops_N."""
        layers = features.encoder.num_layers - self.config.freeze_depth
        return layers * features.encoder.layer_flops(source.lengths_N)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
