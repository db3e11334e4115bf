"""Which row falls into which split: as the source gives it, else drawn by class, group and seed, near duplicates together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.config import PACKAGED_SOURCES, SMALLEST_SPLIT, DataConfig
from trainers.data.fetching import SplitName
from trainers.data.findings import Finding, Severity, at_places
from trainers.data.grouping import draw_groups
from trainers.data.sources import Row
from trainers.data.stratified import stratified_parts, with_bare
from trainers.errors import InputError

SHARE = 5
"""A split that is made and has no size of its own takes a fifth of the texts."""

FAR = 0.1
"""Of the size asked for; where whole groups make a split that much larger or smaller, it is warned of."""

Indices = npt.NDArray[np.int64]

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def split_rows(
    rows: Sequence[Row],
    labels_N: Indices,
    clusters_N: Indices,
    config: DataConfig,
    *,
    groups_N: Indices | None = None,
    names: Sequence[str] = (),
) -> tuple[dict[SplitName, Indices], list[Finding]]:
    """Return the rows of each split, and what there is to say about it.

    Splits are disjoint, stratified by class where they are drawn, and depend on nothing but rows and seed. Of
    near duplicates, validation and test are given one text each, and training none that these have. Groups are drawn
    whole, so that sizes are as near to those asked for as groups allow.

    Args:
        rows: Distinct.
        labels_N: Class of each; of several labels, which ones it has.
        clusters_N: Near duplicates have the same number.
        config: Sizes and seed.
        groups_N: Group of each, near duplicates in the same; None if each text stands for itself.
        names: Of several labels.

    Raises:
        InputError: The sizes asked for do not fit the rows, or training lacks a class.
    """
    given = {name: np.flatnonzero([row.split == name for row in rows]) for name in SPLITS[1:]}
    pool = np.flatnonzero([row.split in {None, "train"} for row in rows])
    order: tuple[SplitName, ...] = ("test", "validation")
    joined: list[Finding] = []
    if config.folds is not None:
        given["validation"], order = given["validation"][:0], ("test",)
        pool, joined = _joined(rows, config.folds)
    made = [name for name in order if not len(given[name])]
    _, first = np.unique(clusters_N[pool], return_index=True)
    rest = pool[np.sort(first)] if made else pool
    sizes = {name: _size(config, name) or len(rest) // SHARE for name in made}
    _check_sizes(sizes, len(rest), config, any_alike=len(rest) < len(pool))
    if groups_N is not None:
        _check_groups(groups_N[rest], made, config)
    parts: dict[SplitName, Indices] = {"validation": pool[:0]} if config.folds is not None else {}
    for i, name in enumerate(made):
        if groups_N is None:
            rest, parts[name] = _draw(rest, labels_N, sizes[name], config, name=name)
        else:
            rest, parts[name] = draw_groups(
                rest, labels_N, groups_N, sizes[name], leave=len(made) - i, seed=config.seed
            )
    for name in given:
        if len(given[name]):
            parts[name] = _thin(given[name], labels_N, name, config)
    alike = np.setdiff1d(pool, np.concatenate([rest, *(parts[name] for name in made)]))
    following = np.isin(clusters_N[alike], clusters_N[rest])
    training = np.concatenate([rest, alike[following]])
    if groups_N is not None and made:
        _check_drawn({**parts, "train": training}, config)
        parts["train"] = _thin(training, labels_N, "train", config, most=len(training))
    else:
        parts["train"] = _thin(training, labels_N, "train", config)
    findings = _say_alike(rows, alike[~following], clusters_N, parts, grouped=groups_N is not None)
    if labels_N.ndim == 2:
        labels = dict(enumerate(names))
        present = {name: np.flatnonzero(labels_N[part].any(axis=0)) for name, part in parts.items()}
    else:
        labels = {int(label): str(rows[i].label) for i, label in enumerate(labels_N)}
        present = {name: labels_N[part] for name, part in parts.items()}
    if config.folds is not None:
        del present["validation"]
    findings += joined
    group = config.group if groups_N is not None and made else None
    few = _too_few(labels_N, sizes)
    findings += _check_classes(labels, present, positive=config.positive, group=group, few=few)
    if groups_N is not None:
        wanted = dict(sizes)
        if made and config.train is not None:
            wanted["train"] = config.train
        findings.append(_say_groups(rows, groups_N, parts, wanted, config))
    return parts, findings


def _say_alike(
    rows: Sequence[Row],
    left_out: Indices,
    clusters_N: Indices,
    parts: Mapping[SplitName, Indices],
    *,
    grouped: bool,
) -> list[Finding]:
    """Say which near duplicates were left out, and which of training are in a split that was given."""
    message = "rows that say nearly the same as one in validation or test were left out"
    if not grouped:
        message += " of training"
    findings = _at(rows, left_out, Finding("near duplicates", message, "mended"))
    evaluated = np.concatenate([parts["validation"], parts["test"]])
    leaked = parts["train"][np.isin(clusters_N[parts["train"]], clusters_N[evaluated])]
    message = (
        "rows of training say nearly the same as one that the given validation or test split holds, and make its "
        "figures flatter; leave them out"
    )
    return findings + _at(rows, leaked, Finding("near duplicates across splits", message, "warning"))


def _joined(rows: Sequence[Row], folds: int) -> tuple[Indices, list[Finding]]:
    """Return the rows that folds are made of, all but a given test split, and what there is to say about it."""
    pool = np.flatnonzero([row.split != "test" for row in rows])
    count = sum(row.split == "validation" for row in rows)
    message = f"the given validation split was joined to the training split: data.folds = {folds} cuts both into folds"
    return pool, [Finding("validation joined", message, "note", count=count)] if count else []


def _size(config: DataConfig, name: SplitName) -> int | None:
    return {"train": config.train, "validation": config.validation, "test": config.test}[name]


def _check_sizes(sizes: dict[SplitName, int], num_texts: int, config: DataConfig, *, any_alike: bool) -> None:
    # How many near duplicates stay in training is known only once the others are drawn.
    train = SMALLEST_SPLIT if any_alike else config.train or SMALLEST_SPLIT
    needed = sum(sizes.values()) + train
    if needed > num_texts:
        drawn = [f"data.{name}" for name in SPLITS if name == "train" or name in sizes]
        asked = [str(config.train or "all the rest"), *(str(sizes[name]) for name in SPLITS if name in sizes)]
        name = config.source if config.source in PACKAGED_SOURCES else Path(config.source).name
        alike = " (near duplicates count once)" if any_alike else ""
        raise InputError(
            f"{' + '.join(drawn)} must not exceed the {num_texts} distinct texts of {name!r}{alike}, got "
            f"{' + '.join(asked)}; lower them"
        )
    small = {name: size for name, size in sizes.items() if size < SMALLEST_SPLIT}
    if small:
        name, size = next(iter(small.items()))
        raise InputError(
            f"each split must have {SMALLEST_SPLIT} texts at least, a fifth of {num_texts} gives {name} {size}; add "
            f"texts, or set data.{name}"
        )


def _draw(
    rows: Indices, labels_N: Indices, size: int, config: DataConfig, *, name: SplitName
) -> tuple[Indices, Indices]:
    """Return the rows that are left over, and ``size`` drawn ones, both with the classes of ``rows``.

    Args:
        rows: To be drawn from.
        labels_N: Class of each row of the source.
        size: Rows to be drawn.
        config: With the seed.
        name: Of the split whose size decides, for messages.
    """
    from sklearn.model_selection import train_test_split

    if labels_N.ndim == 2:
        part_N = stratified_parts(with_bare(labels_N[rows]), (len(rows) - size, size), seed=config.seed)
        return rows[part_N == 0], rows[part_N == 1]
    try:
        rest, drawn = train_test_split(
            rows, test_size=size, stratify=labels_N[rows], random_state=config.seed
        )
    except ValueError as error:
        raise InputError(
            f"data.{name} = {_size(config, name) or size} of {len(rows)} texts cannot be drawn by class: {error}; change the sizes, "
            "or add texts to the smallest class"
        ) from error
    return rest, drawn


def _check_groups(groups_N: Indices, made: Sequence[SplitName], config: DataConfig) -> None:
    """Check that each split that is made, and training, can have a group."""
    num_groups = len(np.unique(groups_N))
    if made and num_groups <= len(made):
        raise InputError(
            f"{' + '.join(f'data.{name}' for name in ('train', *reversed(made)))} must have a group of column "
            f"{config.group!r} each, got {num_groups:,} for {len(made) + 1} splits; add texts of others, or leave data.group out"
        )


def _check_drawn(parts: dict[SplitName, Indices], config: DataConfig) -> None:
    """Check that no split is too small, as where one group has nearly all texts."""
    for name, part in parts.items():
        if len(part) < SMALLEST_SPLIT and not (name == "validation" and config.folds):
            raise InputError(
                f"each split must have {SMALLEST_SPLIT} texts at least, whole groups of column {config.group!r} leave {name} "
                f"{len(part)}; add texts of other groups, or change the sizes"
            )


def _say_groups(
    rows: Sequence[Row],
    groups_N: Indices,
    parts: dict[SplitName, Indices],
    wanted: Mapping[SplitName, int],
    config: DataConfig,
) -> Finding:
    """Say how many groups each split has, and where its size is not the one asked for."""
    sizes = [
        f"{name} {len(parts[name]):,} texts of {len(np.unique(groups_N[parts[name]])):,}"
        for name in SPLITS
        if len(parts[name])
    ]
    message = f"no group of column {config.group!r} stands in two splits: {', '.join(sizes)}"
    off = {name: size for name, size in wanted.items() if len(parts[name]) != size}
    if off:
        told = ", ".join(f"{name} {size:,}" for name, size in off.items())
        message += f"; whole groups came no nearer to {told}"
    is_far = any(abs(len(parts[name]) - size) > FAR * size for name, size in off.items())
    severity: Severity = "warning" if is_far else "note"
    return Finding("groups", message, severity, rows[0].file, count=len(np.unique(groups_N)))


def _thin(
    rows: Indices, labels_N: Indices, name: SplitName, config: DataConfig, *, most: int | None = None
) -> Indices:
    """Return as many rows as ``config`` asks for, all if it does not, ``most`` at most."""
    size = _size(config, name) or len(rows)
    if most is not None:
        size = min(size, most)
    if size < SMALLEST_SPLIT:
        raise InputError(f"the {name} split must have {SMALLEST_SPLIT} texts at least, got {size}; add some")
    if size > len(rows):
        raise InputError(
            f"data.{name} must not exceed the {len(rows)} distinct texts of that split, got {size}; lower it"
        )
    num_classes = len(np.unique(labels_N[rows])) if labels_N.ndim == 1 else 1
    if len(rows) - size < num_classes:  # too few are left out for a stratified choice
        return rows[:size]
    return _draw(rows, labels_N, len(rows) - size, config, name=name)[0]


def _too_few(labels_N: Indices, sizes: Mapping[SplitName, int]) -> Callable[[SplitName, Sequence[int]], str]:
    """Return what says why a split that was drawn has no text of some classes, and what to do; nothing of a given one."""

    def why(split: SplitName, absent: Sequence[int]) -> str:
        if split not in sizes:
            return ""
        members_N = labels_N[:, absent].any(axis=1) if labels_N.ndim == 2 else np.isin(labels_N, absent)
        least = min(int((labels_N[:, c] if labels_N.ndim == 2 else labels_N == c).sum()) for c in absent)
        return (
            f": of {len(labels_N):,} texts, {int(members_N.sum()):,} are, too few for one in {sizes[split]:,} drawn ones; set "
            f"data.{split} = {math.ceil(len(labels_N) / max(1, least))} or more, or add texts"
        )

    return why


def _check_classes(
    names: Mapping[int, str],
    present: Mapping[SplitName, Indices],
    *,
    positive: str | None = None,
    group: str | None = None,
    few: Callable[[SplitName, Sequence[int]], str] = lambda *_: "",
) -> list[Finding]:
    """Warn of classes that a split lacks.

    Args:
        names: By class.
        present: By split, the classes of its texts.
        positive: Class that is looked for.
        group: Column of the groups by which splits were drawn; None if there is none.
        few: Says why a split lacks some classes, where that can be said.

    Raises:
        InputError: Training lacks one, or any split that which is looked for.
    """
    findings = []
    for split in [name for name in SPLITS if name in present]:
        lacking = sorted(set(names) - {*present[split].tolist()})
        absent = [repr(names[label]) for label in lacking]
        if absent:
            shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            message = f"the {split} split has no text of {shown}"
            if split == "train" and group is not None:
                raise InputError(
                    f"{message}, which nothing can then learn: groups of column {group!r} stay whole, and theirs went to other "
                    "splits; add groups, set another data.seed, or leave data.group out"
                )
            if split == "train":
                raise InputError(f"{message}, which nothing can then learn; add some, or drop the class")
            message += few(split, lacking)
            if positive in {names[label] for label in lacking}:
                raise InputError(f"data.positive must have a text in each split: {message}")
            findings.append(Finding("class absent from a split", message, "warning", count=len(absent)))
    return findings


def _at(rows: Sequence[Row], indices: Indices, finding: Finding) -> list[Finding]:
    return at_places(finding, ((rows[i].file, rows[i].line) for i in indices))
