"""TrainConfig: everything that decides one fit."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainers.config.choices import (
    TASK_METRICS,
    Device,
    HeadLogits,
    HeadStart,
    HeadWeights,
    Loss,
    Metric,
    Precision,
    Schedule,
)
from trainers.config.data import DataConfig, check_metric, task_of
from trainers.config.encoder import EncoderConfig
from trainers.config.table import Table

FOCAL_GAMMA = 2.0
"""What the focal loss's paper found best."""

FEW_LAYERS = 1 / 6
"""Share of an encoder's layers up to which ``head_start = "auto"`` fits the head first. MiniLM, ceilings of 92 and 97 %, rates of 5e-5 and
more: where two layers or more were trained, fits from a random head ended 0.4 to 6 points higher, for a fitted one takes up
what training may rise; with one layer and with none 19 and 31 points lower (tests/benchmarks/README.md)."""


class Thaw(Table):
    """A second stage of a fit: it goes on from the head that the first one restored, with more layers trained.

    Attributes:
        freeze_depth: Of the second stage.
        learning_rate: Of the second stage.
        epochs: Greatest number of further epochs.
    """

    freeze_depth: int = Field(ge=0)
    learning_rate: float = Field(gt=0, le=1)
    epochs: int = Field(ge=1)


class TrainConfig(Table):
    """One fit, whole: equal ones give equal results on one machine, to the bit if the same features are stored.

    Without them, frozen layers are run in other batches, and last bits may differ.

    Attributes:
        data: Texts and splits.
        encoder: The pre-trained encoder.
        freeze_depth: 0 trains everything; k freezes the embeddings and the k lowest layers.
        dropout: Rate before and after the head's hidden layer.
        head_width: Units of the head's hidden layer; 0 means that there is none, and the head is linear.
        learning_rate: Peak rate of AdamW for the encoder's trainable layers.
        head_learning_rate_ratio: The head's rate, as a multiple of ``learning_rate``.
        patience: Evaluations without a lower validation loss before the fit stops; absent means no early
            stopping, and, if there is no ceiling either, that the last weights are kept.
        epochs: Greatest number of passes over the training split; 0 trains nothing, for a head that starts as ``probe``.
        evaluations_per_epoch: Evenly spaced evaluations in each epoch.
        batch_size: Texts in one optimiser step.
        weight_decay: AdamW's decoupled decay of weight matrices.
        warmup: Share of all planned steps over which the rate rises linearly from zero.
        schedule: What the rate does after the warm-up: stay, or fall linearly to zero at the last epoch.
        label_smoothing: Share of the target spread over all classes, in training only.
        encoder_dropout: Hidden dropout inside the trainable layers; attention dropout is always 0.
        class_weights: ``balanced`` weighs each text in the loss by the inverse of its class's share, in
            training and for early stopping alike; of several labels it weighs the texts that have a label by how many
            have not. A table gives each class its own weight, of which the ratios count, or each label that of the texts that
            have it, where one that has not weighs 1; absent weighs all texts alike.
        loss: What is minimised, and what early stopping looks at: ``cross_entropy``, or ``focal``, which counts texts the
            less the surer they are right (Lin et al. 2017, arXiv:1708.02002).
        focal_gamma: How much less: each text's loss is multiplied by (1 - probability of its class) to this power; 0 is
            cross-entropy. Of several labels each label's loss by (1 - probability of what is true of it).
        metric: What is called accuracy throughout a fit: the share of texts that are right, the mean of that
            share over the classes, or the mean of the classes' F1. For several labels a text: the F1 of all labels
            together (the default), its mean over the labels, the share of texts of which all labels are right, or the mean
            over the labels of the average precision. Average precision of two classes is that of ``data.positive``; quadratic
            kappa is of ``data.ordered``, 1 for the right classes and 0 for what chance reaches.
        ceiling: Training accuracy, by ``metric``, above which weights count as over-fitted; absent means no
            such rule.
        cache: Number format of the stored features.
        head_start: What the head begins with: ``random`` weights, or ``fitted`` to the vectors of the untouched
            encoder, which takes a second and is then looked at as epoch 0; or, of a linear head, ``probe``: fitted, too, by
            a logistic regression that has converged, regularised as folds of the training split say. ``auto`` is ``fitted``
            where at most a sixth of the layers is trained, or one, and ``random`` elsewhere.
        head_weights: What random weights are drawn from: PyTorch's ``uniform`` distribution, biases too, or Glorot's
            with biases of zero, as Keras does.
        head_logits: Logits of the head: one for each of the ``classes``, or, of two classes, ``one`` with binary
            cross-entropy. Each of several labels has one logit anyway.
        thaw: A second stage; absent means none.
        stop_at: Age in epochs at which each stage of a fit ends, on all texts but those of the test split, without looking at
            any validation text; its last weights are kept. Of a model that goes with ``data.folds``, which found the ages;
            absent means that the fit has a validation split.
        precision: Number format that the encoder's layers compute in: ``bfloat16`` where the machine has arithmetic
            for it, ``auto`` where that is faster, too; absent is bfloat16 on CUDA and float32 elsewhere. Weights, optimiser, pooling, head and loss are float32 always.
        threads: Processor threads that compute the fit; another number rounds differently. Several fits of
            one thread beside one another are faster than one fit of several.
        device: Where the fit is computed: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; another one rounds differently. On a GPU equal bits are not promised,
            since some of its kernels add in no fixed order.
        seed: Of the head's first weights, the order of the batches and dropout.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    freeze_depth: int = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    head_width: int = Field(ge=0, le=65536)
    learning_rate: float = Field(gt=0, le=1)
    head_learning_rate_ratio: float = Field(default=1.0, gt=0)
    patience: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=20, ge=0)
    evaluations_per_epoch: int = Field(default=1, ge=1, le=100)
    batch_size: int = Field(default=32, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    schedule: Schedule = "constant"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    encoder_dropout: float = Field(default=0.1, ge=0, lt=1)
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    loss: Loss = Field(default="cross_entropy", exclude_if=lambda loss: loss == "cross_entropy")
    focal_gamma: float = Field(default=FOCAL_GAMMA, ge=0, exclude_if=lambda gamma: gamma == FOCAL_GAMMA)
    metric: Metric = "accuracy"
    ceiling: float | None = Field(default=None, gt=0, le=1)
    cache: Literal["float16", "float32"] = "float16"
    head_start: HeadStart = "random"
    head_weights: HeadWeights = "uniform"
    head_logits: HeadLogits = "classes"
    thaw: Thaw | None = None
    stop_at: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        default=None, exclude_if=lambda ages: ages is None
    )
    precision: Precision | None = None
    threads: int = Field(default=1, ge=1, le=1024)
    device: Device = "cpu"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _default_metric(cls, settings: Any) -> Any:
        if isinstance(settings, dict) and task_of(settings.get("data")) == "several_labels":
            return {"metric": TASK_METRICS["several_labels"][0], **settings}
        return settings

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if "data" not in self.__dict__:  # a setting of a study is checked before there are any
            return self
        check_metric(self.metric, self.data)
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights_are_positive(cls, weights: Any) -> Any:
        if weights is None or weights == "balanced":
            return weights
        if not isinstance(weights, dict) or not weights:
            raise ValueError(
                f'must be "balanced" or a table of weights by class, got {weights!r}; write {{ spam = 5.0, ham = 1.0 }}'
            )
        wrong = {name: weight for name, weight in weights.items() if not _is_positive(weight)}
        if wrong:
            shown = ", ".join(f"{name!r} {weight!r}" for name, weight in wrong.items())
            raise ValueError(f"the weights of classes must be numbers above 0, got {shown}; change them")
        return weights

    @model_validator(mode="after")
    def _probe_is_linear(self) -> Self:
        if self.head_start == "probe" and self.head_width:
            raise ValueError(
                f'head_start = "probe" is for a head without a hidden layer, got head_width = {self.head_width}; '
                "set head_width = 0, or another head_start"
            )
        if self.epochs == 0 and self.head_start != "probe":
            raise ValueError(
                f'epochs must be at least 1 unless head_start = "probe", got 0 with head_start = "{self.head_start}"; '
                "raise it"
            )
        return self

    @model_validator(mode="after")
    def _stops_once_a_stage(self) -> Self:
        if self.stop_at is None:
            return self
        if self.data.folds is None:
            raise ValueError(
                f"stop_at belongs to data.folds, which finds it, got stop_at = {list(self.stop_at)} without; remove it"
            )
        planned = [self.epochs, *([self.thaw.epochs] if self.thaw else [])]
        if len(self.stop_at) != len(planned) or any(
            age > most for age, most in zip(self.stop_at, planned, strict=True)
        ):
            raise ValueError(
                f"stop_at must give an age of at most {' and '.join(map(str, planned))} epochs for each stage, got "
                f"{list(self.stop_at)}; lower it"
            )
        return self

    @property
    def gamma(self) -> float | None:
        """Of the focal loss; None if the loss is another one."""
        return self.focal_gamma if self.loss == "focal" else None

    def with_head_start(self, num_layers: int) -> TrainConfig:
        """Return what ``auto`` means for an encoder of ``num_layers`` layers; any other head start as it is."""
        if self.head_start != "auto":
            return self
        is_small = num_layers - self.freeze_depth <= max(1, round(FEW_LAYERS * num_layers))
        return self.model_copy(update={"head_start": "fitted" if is_small else "random"})

    @property
    def depths(self) -> set[int]:
        """The freeze depths of all stages."""
        return {self.freeze_depth, self.last_stage.freeze_depth}

    @property
    def last_stage(self) -> TrainConfig:
        """The configuration that the restored weights were trained with last."""
        if self.thaw is None:
            return self
        return self.model_copy(
            update={
                **self.thaw.model_dump(),
                "thaw": None,
                "head_start": "random",
                "stop_at": self.stop_at and self.stop_at[1:],
            }
        )


def _is_positive(weight: Any) -> bool:
    return isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < math.inf
