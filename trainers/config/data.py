"""DataConfig: which texts, and how they are split and cut."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from trainers.config.choices import (
    FILE_SUFFIXES,
    PACKAGED_SOURCES,
    SMALLEST_SPLIT,
    TASK_METRICS,
    Clean,
    Metric,
    Task,
)
from trainers.config.table import Table
from trainers.errors import nearest
from trainers.formats import by_suffix

Name = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=SMALLEST_SPLIT)]


def _columns(value: Any) -> Any:
    """Return the name of a column, or two names; a list of one is that one."""
    names = [value] if isinstance(value, str) else value
    if names is None:
        return None
    sound = isinstance(names, list | tuple) and all(isinstance(name, str) and name for name in names)
    if not sound or len(names) not in {1, 2} or len(set(names)) < len(names):
        raise ValueError(f"must be the name of a column, or a list of two, got {value!r}; fix it")
    return names[0] if len(names) == 1 else tuple(names)


Columns = Annotated[str | tuple[str, str], BeforeValidator(_columns)]


def _class_name(value: Any) -> Any:
    """Return a class as a text: a file may hold it as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _ordered(value: Any) -> Any:
    """Return the names of ordered classes."""
    if value is None:
        return None
    names = [_class_name(name) for name in value] if isinstance(value, list | tuple) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f'must list the classes from the lowest to the highest, got {value!r}; write ["low", "medium", "high"]'
        )
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise ValueError(f"must name each class once, got {repeated[0]!r} twice; drop one")
    if len(names) == 1:
        raise ValueError(f"must name two classes at least, got {names[0]!r} alone; add the others")
    return tuple(names)


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class DataConfig(Table):
    """Which texts, how they are split, and which of their tokens are kept.

    A path in a TOML file is relative to that file.

    Attributes:
        source: Name of the packaged reviews, a file (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), a directory
            saved by ``datasets``, or a hub id ``owner/name``.
        text: Column of the texts, or two columns of texts that are read as pairs; absent means that one is found.
        label: Column of the labels; absent means that it is found. A list of columns that hold 0 or 1 each stands for
            several labels a text, which are called as the columns are.
        label_separator: What stands between the labels of a text in one column, such as ``;``, or ``json`` where it
            holds lists; absent means that a text has one label.
        ordered: All classes, from the lowest to the highest, such as numbers of stars; absent means that they have no order.
        positive: Of two classes the one that average precision looks for; absent means that neither stands out.
        split: Column that names each row's split: train, validation or test; absent means that none does.
        group: Column of what texts belong to, such as a patient or an author: no group stands in two splits; absent means
            that each text stands for itself.
        validation_source: File with the validation texts; absent means as the source gives them, else made.
        test_source: File with the test texts; absent means as the source gives them, else made.
        subset: Of a hub id.
        revision: Branch, tag or commit of a hub id.
        clean: What is cut out of texts: HTML's tags and entities, superfluous white space and invisible characters
            (``html``), these but no markup (``spaces``), or nothing (``none``); ``0.1`` is what version 0.1 did, and
            what was begun with it goes on with.
        train: Texts in the training split; absent means all that the other splits leave over.
        validation: Texts in the validation split; absent means all of a given one, or a fifth of the texts.
        test: Texts in the test split; absent means all of a given one, or a fifth of the texts.
        max_length: Tokens kept of a text, or of a pair, special tokens included.
        head_tokens: Tokens kept from a long text's start, the rest being taken from its end; absent
            keeps the start alone.
        seed: Decides which text falls into which split.
        fingerprint: That all rows of the source must have, as the data page of a report gives it; absent means that
            any will do.
    """

    ADDED: ClassVar[frozenset[str]] = frozenset({"group", "label_separator", "ordered", "positive"})

    source: Name
    text: Columns | None = None
    label: Name | tuple[Name, ...] | None = None
    label_separator: Name | None = None
    ordered: Annotated[tuple[str, ...], BeforeValidator(_ordered)] | None = None
    positive: Annotated[Name, BeforeValidator(_class_name)] | None = None
    split: Name | None = None
    group: Name | None = None
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

    @field_validator("label", mode="before")
    @classmethod
    def _named(cls, label: Any) -> Any:
        several = list(label) if isinstance(label, list | tuple) else [label]
        if label is not None and (
            not all(isinstance(name, str) and name for name in several)
            or (len(several) < 2 and label != several[0])
        ):
            raise ValueError(
                f"must be a column, or a list of two columns or more that hold 0 or 1, got {label!r}; change it"
            )
        return label

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
                for key in (
                    "text",
                    "label",
                    "label_separator",
                    "ordered",
                    "split",
                    "group",
                    "validation_source",
                    "test_source",
                )
                if getattr(self, key) is not None
            ]
            if extra:
                raise ValueError(
                    f"the packaged reviews know their columns and have no splits, got {', '.join(extra)}; remove them"
                )
        return self

    @model_validator(mode="after")
    def _classes_are_of_one_label(self) -> Self:
        if self.task == "several_labels":
            for key, why in (("ordered", "an order"), ("positive", "a positive one")):
                if getattr(self, key) is not None:
                    raise ValueError(
                        f"{key} is for one label a text, got it where a text may have several, of which {why} is not "
                        "supported; remove it"
                    )
        return self

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if not isinstance(self.label, tuple):
            return self
        if self.label_separator is not None:
            raise ValueError(
                "label as a list of columns and label_separator exclude each other, got both; keep one of them"
            )
        if len(set(self.label)) < len(self.label):
            raise ValueError(
                f"label must name each column once, got {', '.join(self.label)}; drop the repeated one"
            )
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.head_tokens is not None and self.pair is not None:
            raise ValueError(
                f"head_tokens is for single texts, got {self.head_tokens} with the two columns {self.text}: of a pair the "
                "longer text is cut; remove it"
            )
        if self.head_tokens is not None and self.head_tokens > self.max_length - 2:
            raise ValueError(
                f"head_tokens must leave room for two special tokens: at most max_length - 2 = "
                f"{self.max_length - 2}, got {self.head_tokens}"
            )
        return self

    @property
    def task(self) -> Task:
        """Whether a text has one label or several."""
        several = isinstance(self.label, tuple) or self.label_separator is not None
        return "several_labels" if several else "one_label"

    @property
    def pair(self) -> tuple[str, str] | None:
        """The columns of a pair; None where texts are single."""
        return self.text if isinstance(self.text, tuple) else None

    @property
    def example(self) -> str:
        """What a command line gives ``trainers.predict`` to classify."""
        return "'a text'" if self.pair is None else "'a text' 'another one'"

    @property
    def is_hub_id(self) -> bool:
        """Whether the source is neither packaged nor a path."""
        return self.source not in PACKAGED_SOURCES and not Path(self.source).is_absolute()


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


def metrics_of(task: Task, *, ordered: bool, positive: bool) -> tuple[Metric, ...]:
    """Return the metrics that classes allow, the default first.

    Args:
        task: Whether a text has one label or several.
        ordered: Whether classes are steps of a scale.
        positive: Whether one of two is looked for.
    """
    lacking = {"quadratic_kappa": not ordered, "average_precision": not positive and task == "one_label"}
    return tuple(metric for metric in TASK_METRICS[task] if not lacking.get(metric))


def check_metric(metric: Metric, data: DataConfig) -> None:
    """Check that classes allow a metric.

    Raises:
        ValueError: They do not.
    """
    allowed = metrics_of(data.task, ordered=data.ordered is not None, positive=data.positive is not None)
    if metric in allowed:
        return
    if metric not in TASK_METRICS[data.task]:
        texts = "one label a text" if data.task == "one_label" else "several labels a text"
        raise ValueError(f"metric must be {', '.join(allowed)} for {texts}, got {metric!r}; change it")
    if metric == "quadratic_kappa":
        raise ValueError(
            "metric quadratic_kappa needs to know the order of the classes, got no data.ordered; list them there from the "
            "lowest to the highest, or take another metric"
        )
    raise ValueError(
        "metric average_precision needs to know which of two classes is looked for, got no data.positive; name it there, "
        "mostly the rarer one, or take another metric"
    )


def task_of(data: Any) -> Task:
    """Return the task of a table ``[data]``, checked or not."""
    if isinstance(data, DataConfig):
        return data.task
    several = isinstance(data, dict) and (
        isinstance(data.get("label"), list | tuple) or data.get("label_separator") is not None
    )
    return "several_labels" if several else "one_label"
