"""Groups: texts that belong together, such as the notes of one patient, and stand in one split.

Shapes: N rows, G groups, D figures of a group: its texts, then those of each class; I groups that were chosen, J that were not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainers.data.fetching import SplitName
from trainers.data.findings import Finding, Severity, at_places
from trainers.data.sources import Row, Source
from trainers.data.stratified import with_bare

GROUPS_SHOWN = 5

LARGE = 0.2
"""Share of the texts: where groups that were joined have more, splits can hardly have the sizes asked for."""

STARTS = 40
"""Random starts; of many groups four, where each comes as near."""
MANY = 20_000
SWAPPED = 100
"""Groups of either side that may change places at a time, at most."""
ROUNDING = 1e-9

Indices = npt.NDArray[np.int64]


def check_groups(kept: Sequence[Row], spare: Sequence[Row], source: Source) -> list[Finding]:
    """Say what is wrong with the groups: absent ones, those of two given splits, and a column that groups nothing.

    Args:
        kept: Rows that are used.
        spare: Rows that say the same as one of these.
        source: Where they come from.
    """
    if source.group is None or not kept:
        return []
    rows, column, file = [*kept, *spare], source.group, kept[0].file
    message = (
        f"each row must have a group in column {column!r}, got none; fill it in: a text that belongs to no other gets a name of "
        "its own"
    )
    absent = ((row.file, row.line) for row in rows if row.group is None)
    findings = at_places(Finding("no group", message, "error", unit=source.unit), absent)
    rows = [row for row in rows if row.group is not None]
    names = {row.group for row in rows}
    if _shared(kept):
        findings.append(_say_shared(kept, source))
    elif len(names) == 1:
        message = (
            f"column {column!r} must hold several groups, got {rows[0].group!r} in each row; name another with data.group, or "
            "leave it out"
        )
        findings.append(Finding("one group", message, "error", file))
    elif len(names) == len(rows) > 0:
        message = (
            f"column {column!r} has another group in each row, so that it keeps nothing together; name another with "
            "data.group, or leave it out"
        )
        findings.append(Finding("groups of one text", message, "warning", file, count=len(rows)))
    return findings


def join_groups(
    rows: Sequence[Row], clusters_N: Indices, same: Sequence[tuple[str, str]], column: str
) -> tuple[Indices, list[Finding]]:
    """Return the number of each row's group, and what there is to say about it.

    Groups that have a text in common, or nearly so, are one: it would stand in two splits.

    Args:
        rows: With a group each.
        clusters_N: Near duplicates have the same number, that of one of their rows.
        same: Pairs of groups that had an equal text, of which one was kept.
        column: Of the groups.
    """
    names = [str(row.group) for row in rows]
    nodes = {name: i for i, name in enumerate(dict.fromkeys([*names, *(n for pair in same for n in pair)]))}
    pairs = [(nodes[first], nodes[second]) for first, second in same]
    groups_N = joined(np.array([nodes[name] for name in names]), clusters_N, pairs)
    num_names, texts_G = len(set(names)), np.bincount(groups_N)
    if num_names == len(texts_G):
        return groups_N, []
    largest = int(texts_G.argmax())
    members = {name for name, group in zip(names, groups_N, strict=True) if group == largest}
    message = (
        f"texts that are the same, or nearly, make {len(texts_G):,} groups of the {num_names:,} of column {column!r}; the "
        f"largest has {texts_G[largest]:,} of {len(rows):,} texts"
    )
    is_large = len(members) > 1 and texts_G[largest] > LARGE * len(rows)
    if is_large:
        message += f", from {len(members):,} of them; leave out texts that many have in common"
    severity: Severity = "warning" if is_large else "note"
    return groups_N, [
        Finding("joined groups", message, severity, rows[0].file, count=num_names - len(texts_G))
    ]


def joined(groups_N: Indices, clusters_N: Indices, same: Sequence[tuple[int, int]] = ()) -> Indices:
    """Return the number of each row's group, groups that have a cluster in common being one; in the order of the rows.

    Args:
        groups_N: Number of each row's own group.
        clusters_N: Number of each row's cluster.
        same: Pairs of groups that are one, too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first_cluster = 1 + max([int(groups_N.max()), *(group for pair in same for group in pair)])
    left, right = np.hstack(
        [np.stack([groups_N, first_cluster + clusters_N]), np.array(same, dtype=np.int64).reshape(-1, 2).T]
    )
    size = first_cluster + 1 + int(clusters_N.max())
    _, component = connected_components(
        coo_array((np.ones(len(left)), (left, right)), shape=(size, size)), directed=False
    )
    _, first, component_N = np.unique(component[groups_N], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[component_N].astype(np.int64)


def draw_groups(
    rows: Indices, labels_N: Indices, groups_N: Indices, size: int, *, leave: int, seed: int
) -> tuple[Indices, Indices]:
    """Return the rows that are left over, and drawn ones: whole groups, as near to ``size`` and to the classes as these allow.

    Nearest is what has the smallest sum of what each class, and all together, have too many or too few. Found by moving and
    swapping groups until none makes it smaller, from several random starts: scikit-learn's StratifiedGroupKFold
    knows no other sizes than those of equal folds.

    Args:
        rows: To be drawn from; they must have more than ``leave`` groups.
        labels_N: Class of each row of the source, or 0 and 1 for each of several labels.
        groups_N: Group of each row of the source.
        size: Rows that are wanted.
        leave: Groups that are left over at least.
        seed: Decides between draws that are equally near.
    """
    _, group_N, texts_G = np.unique(groups_N[rows], return_inverse=True, return_counts=True)
    if labels_N.ndim == 2:
        labels_N = with_bare(labels_N)
        counts_GD = np.zeros((len(texts_G), 1 + labels_N.shape[1]))
        np.add.at(counts_GD[:, 1:], group_N, labels_N[rows])
    else:
        classes, class_N = np.unique(labels_N[rows], return_inverse=True)
        counts_GD = np.zeros((len(texts_G), 1 + len(classes)))
        np.add.at(counts_GD, (group_N, 1 + class_N), 1)
    counts_GD[:, 0] = texts_G
    wanted_D = counts_GD.sum(axis=0) * size / len(rows)
    num_starts = min(STARTS, max(4, MANY // len(texts_G)))
    generator = np.random.default_rng(seed)
    tries = [_choose(counts_GD, wanted_D, leave, generator) for _ in range(num_starts)]
    chosen_G = min(tries, key=lambda chosen_G: _distance(counts_GD[chosen_G].sum(axis=0) - wanted_D))
    drawn_N = chosen_G[group_N]
    return rows[~drawn_N], rows[drawn_N]


def _choose(
    counts_GD: npt.NDArray[np.float64],
    wanted_D: npt.NDArray[np.float64],
    leave: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Return which groups to draw: one at least, and so that enough are left."""
    num_groups = len(counts_GD)
    order = generator.permutation(num_groups)
    chosen_G = np.zeros(num_groups, dtype=bool)
    chosen_G[order[np.cumsum(counts_GD[order, 0]) <= wanted_D[0]]] = True
    chosen_G[order[0]] = True
    chosen_G[order[-leave:]] = False
    off_D = counts_GD[chosen_G].sum(axis=0) - wanted_D
    none = np.array([num_groups])  # a group that is swapped with it is moved
    counts_GD = np.vstack([counts_GD, np.zeros(counts_GD.shape[1])])
    while True:
        inside, outside = np.flatnonzero(chosen_G), np.flatnonzero(~chosen_G)
        out_I = np.append(generator.permutation(inside)[:SWAPPED], none[: len(outside) > leave])
        in_J = np.append(generator.permutation(outside)[:SWAPPED], none[: len(inside) > 1])
        moved_IJD = off_D - counts_GD[out_I][:, None] + counts_GD[in_J]
        distances_IJ = _distance(moved_IJD)
        i, j = np.unravel_index(distances_IJ.argmin(), distances_IJ.shape)
        if distances_IJ[i, j] > _distance(off_D) - ROUNDING:
            return chosen_G
        off_D = moved_IJD[i, j]
        chosen_G[[g for g in (out_I[i], in_J[j]) if g < num_groups]] ^= True


def _distance(off_D: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    distance: npt.NDArray[np.float64] = np.abs(off_D).sum(axis=-1)
    return distance


def _shared(rows: Sequence[Row]) -> dict[str, dict[SplitName, Row]]:
    """Return the groups of several splits, training among them, each with the first row of every one."""
    found: dict[str, dict[SplitName, Row]] = defaultdict(dict)
    for row in rows:
        if row.group is not None:
            found[row.group].setdefault(row.split or "train", row)
    return {name: by_split for name, by_split in found.items() if len(by_split) > 1}


def _say_shared(rows: Sequence[Row], source: Source) -> Finding:
    shared = _shared(rows)
    several = len({row.file for row in rows}) > 1

    def place(split: SplitName, row: Row) -> str:
        return f"{split}: {f'{row.file}, ' if several else ''}{source.unit} {row.line}"

    told = [
        f"{name!r} ({'; '.join(place(*item) for item in by_split.items())})"
        for name, by_split in list(shared.items())[:GROUPS_SHOWN]
    ]
    more = f" and {len(shared) - GROUPS_SHOWN:,} more" if len(shared) > GROUPS_SHOWN else ""
    message = (
        f"no group of column {source.group!r} may stand in two splits, got {len(shared):,} that do: {', '.join(told)}{more}; move "
        "their rows to one split, or leave the splits out to have them drawn by group"
    )
    return Finding("groups across splits", message, "error", rows[0].file, count=len(shared))
