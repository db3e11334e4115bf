"""Texts as a fit reads them: train / validation / test splits, tokenised, with all that was noticed on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainers.config import PACKAGED_SOURCES, DataConfig, Task
from trainers.data.fetching import SplitName
from trainers.data.findings import Finding
from trainers.data.labels import task_of_labels
from trainers.data.splitting import SPLITS
from trainers.data.texts import Texts, read_texts
from trainers.data.tokens import Split, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MUCH = 0.1
"""Share of all tokens; if more are not read of long texts, it is warned of."""


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set.

    Attributes:
        train: What a fit learns from; where there are folds, all texts but those of the test split.
        validation: What stopping, pruning and choice look at; empty where there are folds.
        test: Untouched by all of these.
        class_names: In the order of the class indices.
        duplicates: Texts left out because an equal one stands elsewhere.
        contradictions: Texts left out because equal ones carry different labels.
        mended: Texts that were changed, such as by stripping markup.
        findings: What was noticed; no errors among them.
        fingerprint: Of all rows of the source.
        folds: Parts of ``train`` each of which is the validation split once; None means that there are none.
        clusters_N: Of ``train``, where there are folds: what has the same number stays in one fold.
        ordered: Whether the class indices are steps of a scale.
        positive: Index of the class that is looked for, of two; None if neither stands out.
    """

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    duplicates: int
    contradictions: int
    mended: int
    findings: tuple[Finding, ...] = ()
    fingerprint: str = ""
    folds: int | None = None
    clusters_N: npt.NDArray[np.int64] | None = None
    ordered: bool = False
    positive: int | None = None

    @property
    def task(self) -> Task:
        """Whether a text has one label or several."""
        return task_of_labels(self.train.labels_N)


def load_splits(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, *, texts: Texts | None = None
) -> Splits:
    """Read, check, de-duplicate, split and tokenise the texts of ``config``.

    Args:
        config: The source, its splits, and how much is kept of a text.
        tokenizer: Of the encoder.
        texts: What ``read_texts`` gave; None reads them now.

    Raises:
        InputError: As for ``read_texts``.
    """
    texts = texts or read_texts(config)
    splits = {
        name: tokenise([texts.rows[i].text for i in part], texts.labels_N[part], config, tokenizer)
        for name, part in texts.parts.items()
    }
    if texts.groups_N is not None:
        splits = {
            name: replace(split, groups_N=texts.groups_N[texts.parts[name]]) for name, split in splits.items()
        }
    return Splits(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=texts.class_names,
        duplicates=texts.admitted.duplicates,
        contradictions=texts.admitted.contradictions,
        mended=texts.admitted.mended,
        findings=(*texts.findings, *_cut_texts(list(splits.values()), config)),
        fingerprint=texts.fingerprint,
        folds=config.folds,
        clusters_N=texts.clusters_N[texts.parts["train"]]
        if texts.folds and texts.clusters_N is not None
        else None,
        ordered=texts.ordered,
        positive=texts.positive,
    )


def describe_data(splits: Splits) -> dict[str, Any]:
    """Say as plain data what there is to know about the texts: the data page of a report.

    Returns:
        train, validation, test: Texts in each split.
        class_names: In the order of the class indices.
        texts_per_class: By split, one number a class; a text of several labels counts for each.
        ordered: True, where the classes are steps of a scale; else there is no such key.
        positive: Name of the class that is looked for, of two; likewise.
        several_labels: True, where a text may have several; likewise.
        texts_without_label: Likewise, by split.
        texts_cut, tokens, tokens_kept: By split; longer texts than are read, all tokens, those that are kept.
        duplicates, contradictions, mended: Texts; see ``Splits``.
        findings: Each with ``kind``, ``severity``, ``message``, ``file``, ``lines`` (the first few), ``unit`` and
            ``count``.
        fingerprint: Of all rows of the source.
        folds: Absent where there is a validation split; else ``train`` counts all texts that they share, and so does
            ``validation``, since each of them is validated on once.
    """
    parts = {name: getattr(splits, name) for name in SPLITS}
    counted = parts if splits.folds is None else {**parts, "validation": splits.train}
    num_classes = len(splits.class_names)
    return {
        **{name: len(split) for name, split in counted.items()},
        "class_names": list(splits.class_names),
        "texts_per_class": {
            name: texts_per_class(split.labels_N, num_classes=num_classes).tolist()
            for name, split in counted.items()
        },
        **({"ordered": True} if splits.ordered else {}),
        **({} if splits.positive is None else {"positive": splits.class_names[splits.positive]}),
        **(_describe_several(counted) if splits.task == "several_labels" else {}),
        "texts_cut": {name: split.num_cut for name, split in parts.items()},
        "tokens": {name: split.num_tokens for name, split in parts.items()},
        "tokens_kept": {name: len(split.ids_S) for name, split in parts.items()},
        "duplicates": splits.duplicates,
        "contradictions": splits.contradictions,
        "mended": splits.mended,
        **({} if splits.folds is None else {"folds": splits.folds}),
        "findings": [{**asdict(finding), "lines": list(finding.lines)} for finding in splits.findings],
        "fingerprint": splits.fingerprint,
    }


def texts_per_class(labels_N: npt.NDArray[np.int64], *, num_classes: int) -> npt.NDArray[np.int64]:
    """Count the texts of each class, texts_C; a text of several labels counts for each."""
    if task_of_labels(labels_N) == "several_labels":
        return np.asarray(labels_N.sum(axis=0), dtype=np.int64)
    return np.bincount(labels_N, minlength=num_classes)


def _describe_several(parts: Mapping[SplitName, Split]) -> dict[str, Any]:
    bare = {name: int((~split.labels_N.any(axis=1)).sum()) for name, split in parts.items()}
    return {"several_labels": True, "texts_without_label": bare}


def _cut_texts(splits: Sequence[Split], config: DataConfig) -> list[Finding]:
    """Say how much is not read of long texts; a warning if it is much, and nobody has looked at it yet."""
    num_cut = sum(split.num_cut for split in splits)
    if not num_cut:
        return []
    what = "texts" if config.pair is None else "pairs"
    num_tokens = sum(split.num_tokens for split in splits)
    num_dropped = num_tokens - sum(len(split.ids_S) for split in splits)
    message = (
        f"{num_cut:,} of {sum(map(len, splits)):,} {what} are longer than data.max_length = {config.max_length} tokens: "
        f"{num_dropped:,} tokens, {100 * num_dropped / num_tokens:.1f} % of all, are not read"
    )
    if config.source in PACKAGED_SOURCES or num_dropped < MUCH * num_tokens:
        return [Finding("long texts", message, "note", count=num_cut)]
    message += (
        "; raise it" if config.pair else "; raise it, or set data.head_tokens to keep each text's end, too"
    )
    return [Finding("long texts", message, "warning", count=num_cut)]
