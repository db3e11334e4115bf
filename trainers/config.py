"""TrainConfig: everything that decides one fit."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainers.errors import InputError, describe

Source = Literal["imdb", "rotten_tomatoes"]
Pooling = Literal["mean", "cls"]
Schedule = Literal["constant", "linear"]
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]

METRIC_NAMES: Mapping[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
}
"""How a metric is called where people read of it."""

PACKAGED_ENCODER = "minilm"
SMALLEST_SPLIT = 10


class Table(BaseModel):
    """A TOML table: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Table):
    """Which texts, how they are split, and which of their tokens are kept.

    Attributes:
        source: Name of the packaged reviews.
        train: Texts in the training split; absent means all that the other splits leave over.
        validation: Texts in the validation split.
        test: Texts in the test split.
        max_length: Tokens kept of a text, special tokens included.
        head_tokens: Tokens kept from a long text's start, the rest being taken from its end; absent
            keeps the start alone.
        seed: Decides which text falls into which split.
    """

    source: Source
    train: int | None = Field(default=None, ge=SMALLEST_SPLIT)
    validation: int = Field(ge=SMALLEST_SPLIT)
    test: int = Field(ge=SMALLEST_SPLIT)
    max_length: int = Field(default=128, ge=8, le=8192)
    head_tokens: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.head_tokens is not None and self.head_tokens > self.max_length - 2:
            raise ValueError(
                f"head_tokens must leave room for two special tokens: at most max_length - 2 = "
                f"{self.max_length - 2}, got {self.head_tokens}"
            )
        return self


class EncoderConfig(Table):
    """Which pre-trained encoder, and how its token vectors become one vector a text.

    Attributes:
        name: ``minilm`` (packaged), a local directory, or a hub id.
        revision: Branch, tag or commit of a hub id.
        pooling: ``mean`` over the tokens, or the first token (``cls``).
    """

    name: str = Field(default=PACKAGED_ENCODER, min_length=1)
    revision: str | None = None
    pooling: Pooling = "mean"


class TrainConfig(Table):
    """One fit, whole: equal configurations give equal results, to the bit, on one machine.

    Attributes:
        data: Texts and splits.
        encoder: The pre-trained encoder.
        freeze_depth: 0 trains everything; k freezes the embeddings and the k lowest layers.
        dropout: Rate before and after the head's hidden layer.
        head_width: Units of the head's hidden layer.
        learning_rate: Peak rate of AdamW for the encoder's trainable layers.
        head_learning_rate_ratio: The head's rate, as a multiple of ``learning_rate``.
        patience: Evaluations without a lower validation loss before the fit stops; absent means no early
            stopping, and, if there is no ceiling either, that the last weights are kept.
        epochs: At most so many passes over the training split.
        evaluations_per_epoch: Evenly spaced evaluations in each epoch.
        batch_size: Texts in one optimiser step.
        weight_decay: AdamW's decoupled decay of weight matrices.
        warmup: Share of all planned steps over which the rate rises linearly from zero.
        schedule: What the rate does after the warm-up: stay, or fall linearly to zero at the last epoch.
        label_smoothing: Share of the target spread over all classes, in training only.
        encoder_dropout: Hidden dropout inside the trainable layers; attention dropout is always 0.
        class_weights: ``balanced`` weighs each text in the loss by the inverse of its class's share, in
            training and for early stopping alike; absent weighs all texts alike.
        metric: What is called accuracy throughout a fit: the share of texts that are right, the mean of that
            share over the classes, or the mean of the classes' F1.
        ceiling: Training accuracy, by ``metric``, above which weights count as over-fitted; absent means no
            such rule.
        cache: Number format of the stored features.
        threads: Processor threads that compute the fit; another number rounds differently. Several fits of
            one thread beside one another are faster than one fit of several.
        seed: Of the head's first weights, the order of the batches and dropout.
    """

    data: DataConfig
    encoder: EncoderConfig = EncoderConfig()
    freeze_depth: int = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    head_width: int = Field(ge=1, le=65536)
    learning_rate: float = Field(gt=0, le=1)
    head_learning_rate_ratio: float = Field(default=1.0, gt=0)
    patience: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=20, ge=1)
    evaluations_per_epoch: int = Field(default=1, ge=1, le=100)
    batch_size: int = Field(default=32, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    schedule: Schedule = "constant"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    encoder_dropout: float = Field(default=0.1, ge=0, lt=1)
    class_weights: Literal["balanced"] | None = None
    metric: Metric = "accuracy"
    ceiling: float | None = Field(default=None, gt=0, le=1)
    cache: Literal["float16", "float32"] = "float16"
    threads: int = Field(default=1, ge=1, le=1024)
    seed: int = Field(default=0, ge=0)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: The file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file {path}; give the path of an existing TOML file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check path and permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}; mend that line") from error


def load_config(path: Path) -> TrainConfig:
    """Read a complete fit configuration, such as an exported ``winner.toml``.

    Raises:
        InputError: Every mistake in the file, in one message.
    """
    try:
        return TrainConfig.model_validate(read_toml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, valid_keys=_keys_of_table)}") from error


def table_keys(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """List the keys that the table at ``path`` inside ``model`` may hold; empty where there is no table."""
    for part in path:
        field = model.model_fields.get(part)
        tables = [t for t in (field.annotation, *get_args(field.annotation)) if _is_table(t)] if field else []
        if not tables:
            return []
        model = tables[0]
    return model.model_fields


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys_of_table(path: tuple[str, ...]) -> Iterable[str]:
    return table_keys(TrainConfig, path)
