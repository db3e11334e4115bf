"""Texts as a fit reads them: train / validation / test splits, tokenised, with all that was noticed on the way.

Shapes: N texts, S tokens of all texts together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainers.config import PACKAGED_SOURCES, DataConfig, Task
from trainers.data.fetching import SplitName
from trainers.data.filtering import Admitted, admit
from trainers.data.findings import Finding, told_with_errors
from trainers.data.grouping import join_groups
from trainers.data.labels import class_names
from trainers.data.pairs import Text, encode_pairs, near_duplicate_texts, shared_texts
from trainers.data.shuffled import look_shuffled
from trainers.data.sources import Row, Source, read_source
from trainers.data.splitting import SPLITS, split_rows
from trainers.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MUCH = 0.1
"""Share of all tokens; if more are not read of long texts, it is warned of."""


@dataclass(frozen=True)
class Split:
    """Tokenised, labelled texts, stored end to end.

    Attributes:
        ids_S: Token ids of all texts, special tokens included, no padding. int32.
        offsets_N1: Text i owns ``ids_S[offsets_N1[i]:offsets_N1[i + 1]]``. int64, N + 1 entries.
        labels_N: Class index of each text. int64. Of several labels a row of 0 and 1 for each text, one column a label.
        num_cut: Texts that are longer than what is kept of them.
        num_tokens: Of all texts before they were cut.
        segments_S: Of pairs, which of the two texts each token is from; None of single texts, and where the tokenizer
            does not say. int8.
        groups_N: Number of each text's group, one for groups that nearly the same text stands in; None where each text stands
            for itself. int64.
    """

    ids_S: npt.NDArray[np.int32]
    offsets_N1: npt.NDArray[np.int64]
    labels_N: npt.NDArray[np.int64]
    num_cut: int = 0
    num_tokens: int = 0
    segments_S: npt.NDArray[np.int8] | None = None
    groups_N: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def lengths_N(self) -> npt.NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets_N1)

    def some(self, rows: npt.NDArray[np.int64], *, max_length: int | None = None) -> Split:
        """Return some of the texts, each cut to ``max_length`` tokens."""
        lengths = self.lengths_N[rows] if max_length is None else np.minimum(self.lengths_N[rows], max_length)
        starts = self.offsets_N1[rows]
        tokens = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
        return replace(
            self,
            ids_S=self.ids_S[tokens],
            offsets_N1=np.concatenate([[0], np.cumsum(lengths)]).astype(self.offsets_N1.dtype),
            labels_N=self.labels_N[rows],
            segments_S=None if self.segments_S is None else self.segments_S[tokens],
            groups_N=None if self.groups_N is None else self.groups_N[rows],
        )


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set.

    Attributes:
        train: What a fit learns from.
        validation: What stopping, pruning and choice look at.
        test: Untouched by all of these.
        class_names: In the order of the class indices.
        duplicates: Texts left out because an equal one stands elsewhere.
        contradictions: Texts left out because equal ones carry different labels.
        mended: Texts that were changed, such as by stripping markup.
        findings: What was noticed; no errors among them.
        fingerprint: Of all rows of the source.
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
    ordered: bool = False
    positive: int | None = None

    @property
    def task(self) -> Task:
        """Whether a text has one label or several."""
        return task_of_labels(self.train.labels_N)


@dataclass(frozen=True)
class Texts:
    """What an encoder is not needed for: the texts of a source, checked and split.

    Attributes:
        rows: Plain, distinct, labelled.
        labels_N: Class of each; of several labels as in ``Split``.
        parts: Rows of each split.
        class_names: In the order of the class indices.
        admitted: What was left out, and cleaned.
        findings: What was noticed; no errors among them.
        fingerprint: Of all rows of the source.
        groups_N: Number of each row's group; None where each stands for itself.
        ordered: Whether the class indices are steps of a scale.
        positive: Index of the class that is looked for, of two; None if neither stands out.
    """

    rows: list[Row]
    labels_N: npt.NDArray[np.int64]
    parts: dict[SplitName, npt.NDArray[np.int64]]
    class_names: tuple[str, ...]
    admitted: Admitted
    findings: tuple[Finding, ...]
    fingerprint: str
    groups_N: npt.NDArray[np.int64] | None = None
    ordered: bool = False
    positive: int | None = None

    @property
    def task(self) -> Task:
        """Whether a text has one label or several."""
        return task_of_labels(self.labels_N)


def task_of_labels(labels_N: npt.NDArray[np.int64]) -> Task:
    """Return the task of labels by their shape."""
    return "several_labels" if labels_N.ndim == 2 else "one_label"


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
        ordered=texts.ordered,
        positive=texts.positive,
    )


def read_texts(config: DataConfig) -> Texts:
    """Read, check, de-duplicate and split the texts of ``config``: all that can be wrong with them, before any encoder.

    Raises:
        InputError: The source is missing or has mistakes that cannot be fixed, has changed since its
            fingerprint was taken, or has too few texts for the splits asked for.
    """
    source = read_source(config)
    fingerprint = _checked_fingerprint(source, config)
    admitted = admit(source, clean=config.clean, ordered=config.ordered, positive=config.positive)
    rows, findings = admitted.rows, [*source.findings, *admitted.findings]
    names, labels_N = _classes(rows, source, config)
    known = config.source in PACKAGED_SOURCES  # and spared what has been looked at once and for all
    texts = [row.text for row in rows]
    clusters_N = np.arange(len(rows)) if known else near_duplicate_texts(texts, emoji=config.clean != "0.1")
    groups_N = None
    if source.group is not None:
        groups_N, more = join_groups(rows, clusters_N, admitted.same_groups, source.group)
        findings += more
    with told_with_errors(findings):
        parts, more = split_rows(rows, labels_N, clusters_N, config, groups_N=groups_N, names=names)
    findings += more
    if not known:
        train = parts["train"]
        if config.pair is not None:
            evaluated = np.concatenate([parts["validation"], parts["test"]])
            findings += shared_texts(texts, train, evaluated, config.pair)
        told = [str(rows[i].label) for i in train]
        columns = [told] if labels_N.ndim == 1 else _most_even_first(labels_N[train])
        findings += _suspect_labels([texts[i] for i in train], columns)
    return Texts(
        rows=rows,
        labels_N=labels_N,
        parts={name: parts[name] for name in SPLITS},
        class_names=names,
        admitted=admitted,
        findings=tuple(findings),
        fingerprint=fingerprint,
        groups_N=groups_N,
        ordered=config.ordered is not None,
        positive=None if config.positive is None else names.index(config.positive),
    )


def _classes(
    rows: Sequence[Row], source: Source, config: DataConfig
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the names of the classes, and those of each row."""
    if source.task == "one_label":
        names = config.ordered or class_names(str(row.label) for row in rows)
        return names, np.array([names.index(str(row.label)) for row in rows], dtype=np.int64)
    names = source.label_names or class_names(name for row in rows for name in row.labels or ())
    return names, np.array([[name in (row.labels or ()) for name in names] for row in rows], dtype=np.int64)


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
    """
    parts = {name: getattr(splits, name) for name in SPLITS}
    num_classes = len(splits.class_names)
    return {
        **{name: len(split) for name, split in parts.items()},
        "class_names": list(splits.class_names),
        "texts_per_class": {
            name: texts_per_class(split.labels_N, num_classes=num_classes).tolist()
            for name, split in parts.items()
        },
        **({"ordered": True} if splits.ordered else {}),
        **({} if splits.positive is None else {"positive": splits.class_names[splits.positive]}),
        **(_describe_several(parts) if splits.task == "several_labels" else {}),
        "texts_cut": {name: split.num_cut for name, split in parts.items()},
        "tokens": {name: split.num_tokens for name, split in parts.items()},
        "tokens_kept": {name: len(split.ids_S) for name, split in parts.items()},
        "duplicates": splits.duplicates,
        "contradictions": splits.contradictions,
        "mended": splits.mended,
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


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int, head_tokens: int | None
) -> list[list[int]]:
    """Tokenise texts, keeping of a long one its start, or its start and its end.

    The verdict of a review often stands in its last sentences, hence the end.

    Args:
        texts: One entry a text; an empty one gives the special tokens alone, or the padding token if there are none.
        tokenizer: Of the encoder.
        max_length: Tokens kept of a text, special tokens included.
        head_tokens: Of these, taken from the start; None takes all from there.
    """
    return _encode(texts, tokenizer, max_length=max_length, head_tokens=head_tokens)[0]


def tokenise(
    texts: Sequence[Text],
    labels_N: npt.NDArray[np.int64],
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> Split:
    """Tokenise labelled texts, as long as ``config`` says."""
    singles = [text for text in texts if isinstance(text, str)]
    pairs = [text for text in texts if not isinstance(text, str)]
    segments_S = None
    if config.pair is not None:
        rows, segments, lengths_N = encode_pairs(pairs, tokenizer, max_length=config.max_length)
        segments_S = None if segments is None else pack(segments)[0].astype(np.int8)
    else:
        rows, lengths_N = _encode(
            singles, tokenizer, max_length=config.max_length, head_tokens=config.head_tokens
        )
    ids_S, offsets_N1 = pack(rows)
    return Split(
        ids_S=ids_S,
        offsets_N1=offsets_N1,
        labels_N=labels_N,
        num_cut=int((lengths_N > config.max_length).sum()),
        num_tokens=int(lengths_N.sum()),
        segments_S=segments_S,
    )


def pack(rows: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Lay token rows end to end; returns ids_S and offsets_N1 as in ``Split``."""
    offsets_N1 = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids_S = np.fromiter((i for row in rows for i in row), dtype=np.int32, count=int(offsets_N1[-1]))
    return ids_S, offsets_N1


def cut_points(
    tokenizer: PreTrainedTokenizerBase, *, max_length: int, head_tokens: int | None
) -> tuple[int, int]:
    """Return how many tokens of a long text are kept from its start and from its end, special tokens not counted."""
    prefix, suffix = special_tokens(tokenizer)
    room = max_length - len(prefix) - len(suffix)
    head = room if head_tokens is None else min(head_tokens, room)
    return head, room - head


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and after a text."""

    def ids(word: str) -> list[int]:
        return list(tokenizer(word, add_special_tokens=False)["input_ids"])

    word = "a"
    if not ids(word):  # it reads no Latin letters, and has no token for what is unknown
        special = set(tokenizer.all_special_ids)
        word = next(w for w in sorted(tokenizer.get_vocab()) if ids(w) and special.isdisjoint(ids(w)))
    bare, wrapped = ids(word), tokenizer(word)["input_ids"]
    start = next(i for i in range(len(wrapped)) if wrapped[i : i + len(bare)] == bare)
    return wrapped[:start], wrapped[start + len(bare) :]


def _encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int, head_tokens: int | None
) -> tuple[list[list[int]], npt.NDArray[np.int64]]:
    """Tokenise as ``encode`` does; returns the rows, and the length of each before it was cut."""
    if not texts:
        return [], np.empty(0, dtype=np.int64)
    prefix, suffix = special_tokens(tokenizer)
    head, tail = cut_points(tokenizer, max_length=max_length, head_tokens=head_tokens)
    room = head + tail
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    rows = encoded["input_ids"]
    lengths_N = np.array([len(ids) for ids in rows]) + len(prefix) + len(suffix)
    kept = (ids if len(ids) <= room else ids[:head] + (ids[-tail:] if tail else []) for ids in rows)
    return [[*prefix, *ids, *suffix] or [tokenizer.pad_token_id] for ids in kept], lengths_N


def _checked_fingerprint(source: Source, config: DataConfig) -> str:
    fingerprint = source.fingerprint()
    if config.fingerprint not in {None, fingerprint}:
        raise InputError(
            f"the texts of {config.source!r} must be those that were used before, with fingerprint "
            f"{str(config.fingerprint)[:12]}, got {fingerprint[:12]}: they have changed; restore them, or begin a study "
            "of another name"
        )
    return fingerprint


def _suspect_labels(texts: Sequence[Text], columns: Sequence[Sequence[str]]) -> list[Finding]:
    """Warn of labels that look shuffled: of several labels, if each of them does."""
    if not all(look_shuffled(texts, labels) for labels in columns):
        return []
    if not isinstance(texts[0], str):
        message = (
            "labels may be shuffled: training pairs of one class have no more in common than pairs with labels drawn by "
            "lot, neither words nor how many of them the two texts share; check that each label stands beside its own pair"
        )
        return [Finding("shuffled labels", message, "warning", count=len(texts))]
    message = (
        "labels look shuffled: training texts of one class have no more words or characters in common than texts with "
        "labels drawn by lot; check that each label stands beside its own text"
    )
    return [Finding("shuffled labels", message, "warning", count=len(texts))]


def _most_even_first(labels_NC: npt.NDArray[np.int64]) -> list[list[str]]:
    """Return for each label whether each text has it, the label first that tells most."""
    order = np.argsort(np.abs(labels_NC.mean(axis=0) - 0.5), kind="stable")
    return [labels_NC[:, label].astype(str).tolist() for label in order]


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
