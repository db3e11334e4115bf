"""What an encoder is not needed for: texts that were read, checked and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.config import PACKAGED_SOURCES, DataConfig, Task
from trainers.data.fetching import SplitName
from trainers.data.filtering import Admitted, admit
from trainers.data.findings import Finding, told_with_errors
from trainers.data.folding import Fold, check_folds, fold_rows
from trainers.data.grouping import join_groups
from trainers.data.labels import class_names, task_of_labels
from trainers.data.pairs import Text, near_duplicate_texts, shared_texts
from trainers.data.shuffled import look_shuffled
from trainers.data.sources import Row, Source, read_source
from trainers.data.splitting import SPLITS, split_rows
from trainers.errors import InputError


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
        folds: Of each fold, rows to train on and rows to validate on; empty where there is a validation split.
        groups_N: Number of each row's group; None where each stands for itself.
        clusters_N: Of all rows, where there are folds: what has the same number stays in one fold.
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
    folds: tuple[Fold, ...] = ()
    groups_N: npt.NDArray[np.int64] | None = None
    clusters_N: npt.NDArray[np.int64] | None = None
    ordered: bool = False
    positive: int | None = None

    @property
    def task(self) -> Task:
        """Whether a text has one label or several."""
        return task_of_labels(self.labels_N)


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
        together_N = clusters_N if groups_N is None else groups_N
        if config.folds is not None:
            more.append(_say_folds(len(parts["train"]), config.folds))
            check_folds(labels_N[parts["train"]], together_N[parts["train"]], names, config)
    findings += more
    if not known:
        train = parts["train"]
        if config.pair is not None:
            evaluated = np.concatenate([parts["validation"], parts["test"]])
            of = "validation and test" if config.folds is None else "test"
            findings += shared_texts(texts, train, evaluated, config.pair, of=of)
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
        folds=_folds(parts["train"], labels_N, together_N, config),
        groups_N=groups_N,
        clusters_N=together_N,
        ordered=config.ordered is not None,
        positive=None if config.positive is None else names.index(config.positive),
    )


def _say_folds(num_texts: int, folds: int) -> Finding:
    message = (
        f"there is no validation split: {num_texts:,} texts are cut into {folds} folds, each of which is validated on once, by a "
        "fit of the others"
    )
    return Finding("folds", message, "note", count=folds)


def _folds(
    pool: npt.NDArray[np.int64],
    labels_N: npt.NDArray[np.int64],
    together_N: npt.NDArray[np.int64],
    config: DataConfig,
) -> tuple[Fold, ...]:
    if config.folds is None:
        return ()
    return tuple(
        (pool[train], pool[validation])
        for train, validation in fold_rows(labels_N[pool], together_N[pool], config)
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
