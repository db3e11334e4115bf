"""Looks at a fit under way: at as many texts as their decision needs, and at all for what is restored.

An evaluation decides whether its weights are the best so far. It looks at a random sample of the validation texts, the same
for every look and every fit of a study, and compares the losses with those of the best weights so far, text by text.
The sample doubles until the mean difference is clear, beyond two standard errors, or until all texts are looked at.
Training texts are treated alike; there, the question is whether the training score is above the ceiling. Where a text may
have several labels, or the metric is average precision or quadratic kappa, all training texts are looked at: how far the score
of a sample may be off is not a matter of a share.
Both questions are about the split at hand, from which texts are drawn one by one: the errors hold whatever groups the texts come in.

Shapes: N texts of a split, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.config import Metric, Task, TrainConfig
from trainers.errors import FitError
from trainers.fit.batching import Indices
from trainers.fit.hits import packed
from trainers.fit.inputs import Batch
from trainers.fit.metrics import (
    Tally,
    confusion,
    cross_entropy,
    interval,
    is_clear_of,
    is_share,
    losses,
    measure,
    no_tally,
    num_texts,
    tally,
    together,
    weighted_mean,
)
from trainers.fit.network import Network
from trainers.fit.ordinal import OnScale, on_scale
from trainers.fit.samples import Sample
from trainers.fit.several import Answers, label_f1
from trainers.fit.stopping import EarlyStopping, StopReason

PEEK_TEXTS = 300
"""Validation texts that a peek between evaluations looks at."""

FIRST_SAMPLE = 300
"""Texts of either split that an evaluation looks at first."""

KEPT_CHECKPOINTS = 3
"""Candidates whose weights are kept, should the exact training score rule the first ones out."""

CLEAR = 2.0
"""Standard errors beyond which a decision on going on counts as clear."""

SURE = 5.0
"""Standard errors below the ceiling at which restored weights need no exact training score: less than one sample in
ten thousand of a split above the ceiling looks so."""


@dataclass(frozen=True)
class Measurement:
    """What a look found, or what restored weights come to.

    Attributes:
        validation_loss: Over the texts looked at, as the score.
        validation_score: By the configuration's metric, as the training score.
        num_validation_texts: None means all.
        hits: Which of the first ``PEEK_TEXTS`` texts of the sample were right (``trainers.fit.hits``); None where a text may
            have several labels, and be right in part.
        training_score: None where no training text was looked at.
        training_exact: Whether it is over the whole split.
        training_interval: Of an estimate: where the score over the whole split lies with 95 % confidence.
        on_scale: Of steps of a scale, over all validation texts; None elsewhere.
        label_f1: Of several labels the F1 of each, over all validation texts (``label_f1``); None elsewhere.
    """

    validation_loss: float
    validation_score: float
    num_validation_texts: int | None
    hits: str | None
    training_score: float | None = None
    training_exact: bool = False
    training_interval: tuple[float, float] | None = None
    on_scale: OnScale | None = None
    label_f1: list[float | None] | None = None


class _How(TypedDict):
    metric: Metric
    positive: int | None


class _Look:
    """What one set of weights answered, as far as it was asked.

    Args:
        num_validation: Texts of the validation split.
        num_classes: C.
        nothing: Tally of no text.

    Attributes:
        logits_NC: Of the validation texts, in the order of the split; those that were looked at are known.
        num_validation: How many texts were looked at: the first ones of the sample.
        counts: Of the first training texts of the sample.
        standing: Validation loss beside that of other looks: it differs from that of the best weights so far as the losses
            on the same texts do.
        weights: While they may be restored, or be compared with.
    """

    def __init__(self, num_validation: int, num_classes: int, nothing: Tally) -> None:
        self.logits_NC = torch.full((num_validation, num_classes), math.nan)
        self.num_validation = 0
        self.counts = nothing
        self.standing = math.inf
        self.weights: dict[str, Tensor] | None = None

    @property
    def num_training(self) -> int:
        """Training texts that were looked at."""
        return num_texts(self.counts)


class Looks:
    """All looks at one fit: what each found, whether to go on, and which weights to restore.

    Between looks, the network is the fit's to train; each look leaves its weights as they were, in eval mode.

    Args:
        network: Looked at.
        config: Ceiling, patience, metric and loss are read from it.
        train: The training split.
        validation: The validation split.
        weights_C: Of the classes in the loss.
        num_classes: C.
        positive: Index of the class that average precision is of; None if neither stands out.
        ordered: Whether classes are steps of a scale.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        *,
        train: Sample,
        validation: Sample,
        weights_C: Tensor | None,
        num_classes: int,
        positive: int | None = None,
        ordered: bool = False,
    ) -> None:
        self._network = network
        self._config = config
        self._train = train
        self._validation = validation
        self._weights_C = None if weights_C is None else weights_C.cpu()
        self._task: Task = config.data.task
        self._ordered = ordered
        self._how = _How(metric=config.metric, positive=positive)
        self._num_classes = num_classes
        self._stopping = EarlyStopping(patience=config.patience, ceiling=config.ceiling)
        self._looks: list[_Look] = []
        self._loaded: _Look | None = None  # whose weights the network has

    def peek(self) -> Measurement:
        """Look at ``PEEK_TEXTS`` validation texts, and remember nothing."""
        look = self._begin()
        self._look_at_validation(look, PEEK_TEXTS)
        return self._measurement(look)

    def evaluate(self, pooled: tuple[Batch, Batch] | None = None) -> Measurement:
        """Look at the present weights until it is clear whether they are the best so far, and keep them if wanted.

        Args:
            pooled: What the head sees of all texts of the training and the validation split, where that is known.
        """
        look, best = self._begin(), self._best()
        if pooled is not None:
            self._take_pooled(look, *pooled)
        self._look_at_training(look, errors=CLEAR)
        self._look_at_validation(look, FIRST_SAMPLE)
        look.standing = self._loss(look) if best is None else self._standing(look, best)
        self._load(look)
        self._looks.append(look)
        found = self._measurement(look)
        self._keep_weights()
        return found

    def reason_to_stop(self) -> StopReason | None:
        """Return why to stop after the latest evaluation, or None to go on."""
        return self._stopping.reason_to_stop(*self._history())

    def restore(self, *, to_beat: float | None) -> tuple[int, Measurement]:
        """Load the most wanted weights whose training score keeps under the ceiling.

        If none does, the most wanted ones. What is restored is looked at with all validation texts, and with all training
        texts unless its validation score is below ``to_beat`` and its training score surely below the ceiling.

        Returns:
            Which evaluation it is of, counted from 0, and what it was measured to have.
        """
        self._loaded = None  # so that the weights that were looked at are loaded, whatever the network has
        ceiling = self._config.ceiling
        tried: dict[int, float] = {}
        preferred = self._stopping.preference(*self._history())
        candidates = [i for i in preferred if self._looks[i].weights is not None]
        for i in candidates:
            look = self._looks[i]
            if ceiling is not None and tried and self._training_score(look) > ceiling:
                break  # only candidates that looked feasible are worth a second look
            self._look_at_validation(look, len(self._validation))
            may_win = to_beat is None or self._score(self._tally(look)) >= to_beat
            self._look_at_training(look, errors=math.inf if may_win else SURE, below=True)
            tried[i] = self._training_score(look)
            if ceiling is None or tried[i] <= ceiling:
                break
        best = next((i for i in tried if ceiling is not None and tried[i] <= ceiling), candidates[0])
        self._load(self._looks[best])
        return best, self._measurement(self._looks[best])

    def _begin(self) -> _Look:
        self._network.eval()
        nothing = no_tally(self._num_classes, task=self._task, **self._how)
        self._loaded = _Look(len(self._validation), self._num_classes, nothing)
        return self._loaded

    def _best(self) -> _Look | None:
        """Return the best look so far; None if there is none, or if the last weights are restored, whatever they are."""
        if not self._looks or (self._config.patience is None and self._config.ceiling is None):
            return None
        return self._looks[self._stopping.preference(*self._history())[0]]

    def _standing(self, look: _Look, best: _Look) -> float:
        """Compare with the best weights so far, on as many texts as it takes, and return the standing.

        What is above the ceiling ends the fit, and is not compared further.
        """
        ceiling = self._config.ceiling
        over = ceiling is not None and self._training_score(look) > ceiling
        while True:
            count = look.num_validation
            self._look_at_validation(best, count)
            rows = self._validation.rows(0, count)
            differences_N = self._losses(look, rows) - self._losses(best, rows)
            mean, error = weighted_mean(
                differences_N, weights_N=self._weights(rows), of=len(self._validation)
            )
            if over or count == len(self._validation) or abs(mean) > CLEAR * error:
                return best.standing + mean
            self._look_at_validation(look, 2 * count)

    def _look_at_validation(self, look: _Look, count: int) -> None:
        """Look at the validation texts of the sample's first ``count`` that were not yet looked at."""
        count = min(count, len(self._validation))
        if count > look.num_validation:
            rows = self._validation.rows(look.num_validation, count)
            look.logits_NC[rows] = self._run(look, self._validation, rows)
            look.num_validation = count
        loss = self._loss(look)
        if not math.isfinite(loss):
            raise FitError(
                f"diverged: validation loss {loss} at learning rate {self._config.learning_rate:g}"
            )

    def _look_at_training(self, look: _Look, *, errors: float, below: bool = False) -> None:
        """Look at training texts until the score lies ``errors`` standard errors from the ceiling, or at all.

        The sample doubles. With ``below``, being above does not count; without a ceiling the first sample is enough. Where the
        metric is no share of texts, all are looked at.
        """
        if not is_share(self._config.metric, self._task):
            errors = math.inf
        ceiling, metric, total = self._config.ceiling, self._config.metric, len(self._train)
        while look.num_training < total:
            seen = look.num_training
            if seen >= min(FIRST_SAMPLE, total) and errors < math.inf:
                clear = ceiling is None or is_clear_of(
                    ceiling, look.counts, metric=metric, of=total, errors=errors
                )
                if clear and not (below and ceiling is not None and self._training_score(look) > ceiling):
                    return
            count = total if errors == math.inf else min(total, max(FIRST_SAMPLE, 2 * seen))
            rows = self._train.rows(seen, count)
            logits_NC = self._run(look, self._train, rows)
            look.counts = together(look.counts, tally(logits_NC, self._train.labels_N[rows], **self._how))

    @torch.inference_mode()
    def _take_pooled(self, look: _Look, train: Batch, validation: Batch) -> None:
        head = self._network.head
        look.counts = tally(head(train.inputs), train.labels_B, **self._how)
        look.logits_NC.copy_(head(validation.inputs))
        look.num_validation = len(self._validation)

    def _run(self, look: _Look, sample: Sample, rows: Indices) -> Tensor:
        self._load(look)
        return sample.run(self._network, rows)

    def _load(self, look: _Look) -> None:
        """Give the network a look's weights; those that it had stay with theirs."""
        if self._loaded is look:
            return
        assert look.weights is not None  # noqa: S101
        if self._loaded is not None and self._loaded.weights is None:
            self._loaded.weights = self._copied()
        self._network.load_state_dict(look.weights)
        self._loaded = look

    def _keep_weights(self) -> None:
        """Keep the weights of the most wanted looks; of the rest, their standing and training score."""
        wanted = self._stopping.preference(*self._history())[:KEPT_CHECKPOINTS]
        for i, look in enumerate(self._looks):
            if i not in wanted:
                look.weights, look.logits_NC = None, torch.empty(0)
        latest = self._looks[-1]
        if len(self._looks) - 1 in wanted and latest.weights is None:
            latest.weights = self._copied()

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self._network.state_dict().items()}

    def _history(self) -> tuple[list[float], list[float]]:
        return [look.standing for look in self._looks], [self._training_score(look) for look in self._looks]

    def _measurement(self, look: _Look) -> Measurement:
        complete = look.num_validation == len(self._validation)
        exact = look.num_training == len(self._train)
        return Measurement(
            validation_loss=self._loss(look),
            validation_score=self._score(self._tally(look)),
            num_validation_texts=None if complete else look.num_validation,
            hits=self._hits(look),
            training_score=self._training_score(look) if look.num_training else None,
            training_exact=exact,
            training_interval=None
            if exact or not look.num_training
            else interval(look.counts, metric=self._config.metric),
            on_scale=on_scale(confusion(*self._known(look), metric=self._config.metric))
            if self._ordered and complete
            else None,
            label_f1=self._label_f1(look) if complete else None,
        )

    def _label_f1(self, look: _Look) -> list[float | None] | None:
        found = self._tally(look)
        return label_f1(found) if self._task == "several_labels" and isinstance(found, Answers) else None

    def _loss(self, look: _Look) -> float:
        logits_NC, labels_N = self._known(look)
        return cross_entropy(logits_NC, labels_N, weights_C=self._weights_C, gamma=self._config.gamma)

    def _tally(self, look: _Look) -> Tally:
        return tally(*self._known(look), **self._how)

    def _known(self, look: _Look) -> tuple[Tensor, Tensor]:
        rows = self._validation.rows(0, look.num_validation)
        return look.logits_NC[rows], self._validation.labels_N[rows]

    def _hits(self, look: _Look) -> str | None:
        if self._task == "several_labels":
            return None
        rows = self._validation.rows(0, PEEK_TEXTS)
        return packed((look.logits_NC[rows].argmax(dim=1) == self._validation.labels_N[rows]).numpy())

    def _losses(self, look: _Look, rows: Indices) -> npt.NDArray[np.float64]:
        return losses(
            look.logits_NC[rows],
            self._validation.labels_N[rows],
            weights_C=self._weights_C,
            gamma=self._config.gamma,
        )

    def _weights(self, rows: Indices) -> npt.NDArray[np.float64] | None:
        if (
            self._weights_C is None or self._task == "several_labels"
        ):  # whose losses are weighted label by label
            return None
        weights_N: npt.NDArray[np.float64] = self._weights_C[self._validation.labels_N[rows]].double().numpy()
        return weights_N

    def _training_score(self, look: _Look) -> float:
        return self._score(look.counts)

    def _score(self, counts: Tally) -> float:
        return measure(counts, metric=self._config.metric)
