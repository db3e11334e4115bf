"""TrainConfig: everything that decides one fit."""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trainers.errors import CONTROL, InputError, describe, nearest
from trainers.formats import by_suffix

Pooling = Literal["mean", "cls", "model"]
Schedule = Literal["constant", "linear"]
Clean = Literal["html", "spaces", "none", "0.1"]
"""What is cut out of texts: HTML's tags and entities, superfluous white space and what nobody sees; these without the
markup; nothing; or what version 0.1 cut out, which took ``<int>`` and ``<user>`` for tags, too."""

FixedPrecision = Literal["float32", "bfloat16"]
Precision = Literal["auto", "float32", "bfloat16"]
HeadStart = Literal["random", "fitted", "probe"]
HeadWeights = Literal["uniform", "glorot"]
HeadLogits = Literal["classes", "one"]
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]

METRIC_NAMES: Mapping[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
}
"""How a metric is called where people read of it."""

PACKAGED_ENCODER = "minilm"
PACKAGED_SOURCES = ("imdb", "rotten_tomatoes")
FILE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
SMALLEST_SPLIT = 10

Name = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=SMALLEST_SPLIT)]

_DEVICE = re.compile(r"cpu|cuda(:(0|[1-9]\d*))?|mps")


def checked_device(name: str) -> str:
    """Return a device's name if it is one, whether this machine has it or not.

    Raises:
        ValueError: It is none.
    """
    if not _DEVICE.fullmatch(name):
        raise ValueError(f"must be cpu, cuda, cuda:N (the GPU of number N) or mps, got {name!r}")
    return name


Device = Annotated[str, AfterValidator(checked_device)]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class Table(BaseModel):
    """A TOML table: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Table):
    """Which texts, how they are split, and which of their tokens are kept.

    A path in a TOML file is relative to that file.

    Attributes:
        source: Name of the packaged reviews, a file (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), a directory
            saved by ``datasets``, or a hub id ``owner/name``.
        text: Column of the texts; absent means that it is found.
        label: Column of the labels; absent means that it is found.
        split: Column that names each row's split: train, validation or test; absent means that none does.
        validation_source: File with the validation texts; absent means as the source gives them, else made.
        test_source: File with the test texts; absent means as the source gives them, else made.
        subset: Of a hub id.
        revision: Branch, tag or commit of a hub id.
        clean: What is cut out of texts: HTML's tags and entities, superfluous white space and invisible characters
            (``html``), these but no markup (``spaces``), or nothing (``none``); ``0.1`` is what version 0.1 did, and
            what was begun with it goes on with.
        train: Texts in the training split; absent means all that the other splits leave over.
        validation: Texts in the validation split; absent means all of a given one, or a fifth of the texts.
        test: Texts in the test split; absent means likewise.
        max_length: Tokens kept of a text, special tokens included.
        head_tokens: Tokens kept from a long text's start, the rest being taken from its end; absent
            keeps the start alone.
        seed: Decides which text falls into which split.
        fingerprint: That all rows of the source must have, as the data page of a report gives it; absent means that
            any will do.
    """

    source: Name
    text: Name | None = None
    label: Name | None = None
    split: Name | None = None
    validation_source: Name | None = None
    test_source: Name | None = None
    subset: Name | None = None
    revision: Name | None = None
    clean: Clean = "html"
    train: Size | None = None
    validation: Size | None = None
    test: Size | None = None
    max_length: int = Field(default=128, ge=8, le=8192)
    head_tokens: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0)
    fingerprint: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @field_validator("source")
    @classmethod
    def _placed(cls, source: str, info: ValidationInfo) -> str:
        return _place(source, info)

    @field_validator("validation_source", "test_source")
    @classmethod
    def _file_placed(cls, source: str | None, info: ValidationInfo) -> str | None:
        if source is not None and Path(source).suffix.lower() not in FILE_SUFFIXES:
            raise ValueError(
                f"must be a file that ends in {', '.join(FILE_SUFFIXES)}, got {source!r}, {by_suffix(Path(source))}"
            )
        return source and _place(source, info)

    @model_validator(mode="after")
    def _sources_agree(self) -> Self:
        if self.split and (self.validation_source or self.test_source):
            raise ValueError(
                "split and validation_source or test_source exclude each other, got both; keep the column or the files"
            )
        if (self.subset or self.revision) and not self.is_hub_id:
            raise ValueError(
                f"subset and revision belong to a hub id owner/name, got source = {self.source!r}; remove them"
            )
        if self.source in PACKAGED_SOURCES:
            extra = [
                key
                for key in ("text", "label", "split", "validation_source", "test_source")
                if getattr(self, key) is not None
            ]
            if extra:
                raise ValueError(
                    f"the packaged reviews know their columns and have no splits, got {', '.join(extra)}; remove them"
                )
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.head_tokens is not None and self.head_tokens > self.max_length - 2:
            raise ValueError(
                f"head_tokens must leave room for two special tokens: at most max_length - 2 = "
                f"{self.max_length - 2}, got {self.head_tokens}"
            )
        return self

    @property
    def is_hub_id(self) -> bool:
        """Whether the source is neither packaged nor a path."""
        return self.source not in PACKAGED_SOURCES and not Path(self.source).is_absolute()


class EncoderConfig(Table):
    """Which pre-trained encoder, and how its token vectors become one vector a text.

    Attributes:
        name: ``minilm`` (packaged), a local directory, or a hub id.
        revision: Branch, tag or commit of a hub id.
        pooling: ``mean`` over the tokens, the first token (``cls``), or what the encoder's own pooler makes of
            it (``model``), where it has one; below full depth the pooler is trained, at full depth frozen.
    """

    name: str = Field(default=PACKAGED_ENCODER, min_length=1)
    revision: str | None = None
    pooling: Pooling = "mean"

    @field_validator("revision")
    @classmethod
    def _names_a_revision(cls, revision: str | None) -> str | None:
        # The hub client reads the file of this name in its cache, wherever dots and slashes lead.
        if revision is not None and (".." in revision or not _REVISION.fullmatch(revision)):
            raise ValueError(
                "must be a branch, tag or commit: letters, digits, '.', '_', '-' and '/', beginning with a letter "
                f"or digit and without '..', got {revision!r}; mend it"
            )
        return revision


class Thaw(Table):
    """A second stage of a fit: it goes on from the head that the first one restored, with more layers trained.

    Attributes:
        freeze_depth: Of the second stage.
        learning_rate: Likewise.
        epochs: At most so many more.
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
        epochs: At most so many passes over the training split; 0 trains nothing, for a head that starts as ``probe``.
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
        head_start: What the head begins with: ``random`` weights, or ``fitted`` to the vectors of the untouched
            encoder, which takes a second and is then looked at as epoch 0; or, of a linear head, ``probe``: likewise, by
            a logistic regression that has converged, regularised as folds of the training split say.
        head_weights: What random weights are drawn from: PyTorch's ``uniform`` distribution, biases too, or Glorot's
            with biases of zero, as Keras does.
        head_logits: Logits of the head: one for each of the ``classes``, or, of two classes, ``one`` with binary
            cross-entropy.
        thaw: A second stage; absent means none.
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
    class_weights: Literal["balanced"] | None = None
    metric: Metric = "accuracy"
    ceiling: float | None = Field(default=None, gt=0, le=1)
    cache: Literal["float16", "float32"] = "float16"
    head_start: HeadStart = "random"
    head_weights: HeadWeights = "uniform"
    head_logits: HeadLogits = "classes"
    thaw: Thaw | None = None
    precision: Precision | None = None
    threads: int = Field(default=1, ge=1, le=1024)
    device: Device = "cpu"
    seed: int = Field(default=0, ge=0)

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

    @property
    def depths(self) -> set[int]:
        """The freeze depths of all stages."""
        return {self.freeze_depth, self.last_stage.freeze_depth}

    @property
    def last_stage(self) -> TrainConfig:
        """The configuration that the restored weights were trained with last."""
        if self.thaw is None:
            return self
        return self.model_copy(update={**self.thaw.model_dump(), "thaw": None, "head_start": "random"})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: The file is missing, unreadable or not TOML, or holds control characters.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except FileNotFoundError:
        raise InputError(f"no file {path}; give the path of an existing TOML file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check path and permissions") from error
    except UnicodeDecodeError as error:
        utf_16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        line = error.object.count(b"\n", 0, error.start) + 1
        got = "UTF-16" if utf_16 else f"byte {error.object[error.start]:#x} in line {line}"
        raise InputError(f"{path} must be UTF-8, as every TOML file, got {got}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}; mend that line") from error
    for text in _texts(table):
        if CONTROL.search(text):
            raise InputError(f"{path}: a text must hold no control characters, got {text!r}; remove them")
    return table


def load_config(path: Path) -> TrainConfig:
    """Read a complete fit configuration, such as an exported ``winner.toml``.

    Raises:
        InputError: Every mistake in the file, in one message.
    """
    table = read_toml(path)
    if isinstance(table.get("fit"), dict):
        raise InputError(
            f"{path} must be the configuration of one fit, such as a winner.toml, got a study; search it: "
            f"python -m search.run --study {shlex.quote(str(path))}"
        )
    data = table.get("data")
    if isinstance(data, dict) and "fingerprint" in data:
        data.setdefault("clean", "0.1")  # exported before there was this key
    try:
        return TrainConfig.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, valid_keys=_keys_of_table)}") from error


def as_toml(config: TrainConfig) -> str:
    """Write a complete configuration as the text of a TOML file."""
    return _toml(config.model_dump(mode="json", exclude_none=True))


def table_keys(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """List the keys that the table at ``path`` inside ``model`` may hold; empty where there is no table."""
    for part in path:
        field = model.model_fields.get(part)
        tables = [t for t in (field.annotation, *get_args(field.annotation)) if _is_table(t)] if field else []
        if not tables:
            return []
        model = tables[0]
    return model.model_fields


def _toml(table: dict[str, Any]) -> str:
    """Write scalars, then tables of scalars; their JSON forms are valid TOML."""
    scalars = [
        f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in table.items() if not isinstance(v, dict)
    ]
    tables = [f"\n[{k}]\n{_toml(v)}" for k, v in table.items() if isinstance(v, dict)]
    return "".join([*scalars, *tables])


def _place(source: str, info: ValidationInfo) -> str:
    """Return a packaged name or a hub id as it is, and a path made absolute, so that it holds wherever it is read."""
    if source in PACKAGED_SOURCES:
        return source
    path = Path((info.context or {}).get("folder", "."), Path(source).expanduser())
    if path.exists() or path.suffix.lower() in FILE_SUFFIXES or source.startswith(("/", "~", "./", "../")):
        return os.path.abspath(path)  # noqa: PTH100  (resolve() would follow links)
    if _HUB_ID.fullmatch(source):
        return source
    raise ValueError(
        f"must be {' or '.join(PACKAGED_SOURCES)}, a file that ends in {', '.join(FILE_SUFFIXES)}, a directory "
        f"saved by datasets, or a hub id owner/name, got {source!r}{nearest(source, PACKAGED_SOURCES)}"
    )


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _texts(value: Any) -> Iterator[str]:
    """Yield every key and every text of a TOML table."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _keys_of_table(path: tuple[str, ...]) -> Iterable[str]:
    return table_keys(TrainConfig, path)
