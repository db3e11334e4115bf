"""Which rows may be trained on: what can be fixed is fixed and counted, the rest is an error before any training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainers.config import Clean
from trainers.data.findings import Finding, Severity, at_places, stop_on_errors
from trainers.data.grouping import check_groups
from trainers.data.label_sets import joined
from trainers.data.labels import SMALLEST_CLASS, check_classes, check_labels, check_names, name_classes
from trainers.data.ordering import check_order, check_positive
from trainers.data.pairs import Text, cleaned, is_blank, sides
from trainers.data.sources import Row, Source

# A text that stands in two splits stays in the one that must not be guessed from the other.
_PRECEDENCE = {"test": 0, "validation": 1, "train": 2, None: 2}

_Say = Callable[[str, str, Severity, Iterable[Row]], None]
"""Keeps a finding of a kind, its message and severity, for the places of rows."""


@dataclass(frozen=True)
class Admitted:
    """Rows that may be trained on: labelled, plain, distinct, and of one label for one text.

    Attributes:
        rows: In the order of the source.
        findings: What was noticed; no errors among them.
        duplicates: Rows left out because another one has the same text and label.
        contradictions: Rows left out because another one has the same text and another label.
        mended: Texts that were changed.
        same_groups: Pairs of groups of which each had a text that the other had, too.
    """

    rows: list[Row]
    findings: tuple[Finding, ...]
    duplicates: int
    contradictions: int
    mended: int
    same_groups: tuple[tuple[str, str], ...] = ()


def admit(
    source: Source,
    *,
    clean: Clean = "html",
    ordered: Sequence[str] | None = None,
    positive: str | None = None,
) -> Admitted:
    """Clean the rows of a source, and leave out those that cannot be used.

    Args:
        source: The rows.
        clean: What to cut out of their texts.
        ordered: All classes in their order; None if they have none.
        positive: One of two classes; None if neither stands out.

    Raises:
        InputError: There are not two classes, or one has too few texts, or they are called otherwise.
    """
    findings: list[Finding] = []

    def say(kind: str, message: str, severity: Severity, rows: Iterable[Row]) -> None:
        finding = Finding(kind, message, severity, unit=source.unit)
        findings.extend(at_places(finding, ((row.file, row.line) for row in rows)))

    rows, num_mended = _clean(source.rows, clean, say)
    equal_by_markup = _equal_by_markup(source.rows, rows, clean)
    rows = _with_text(rows, say)
    several = source.task == "several_labels"
    rows = _name_labels(rows, say, source) if several else _name_classes(rows, say)
    say("no label", "rows without a label were left out", "mended", (r for r in rows if r.label is None))
    rows = [r for r in rows if r.label is not None]
    agreed = _without_contradictions(rows, equal_by_markup, say)
    unique, spare = _without_duplicates(agreed, equal_by_markup, say)
    if several:
        bare = [r for r in unique if not r.labels]
        say("no label at all", "texts that have none of the labels are kept as such", "note", bare)
    findings += check_groups(unique, spare, source)
    findings += _check_labels(unique, source)
    if not several:
        findings += _check_named(unique, ordered, positive)
    stop_on_errors([*source.findings, *findings])
    kept = {row.text: row for row in unique}
    return Admitted(
        rows=unique,
        findings=tuple(findings),
        duplicates=len(spare),
        contradictions=len(rows) - len(agreed),
        mended=num_mended,
        same_groups=tuple({(str(kept[r.text].group), str(r.group)): None for r in spare if r.group}),
    )


def _clean(rows: Iterable[Row], clean: Clean, say: _Say) -> tuple[list[Row], int]:
    """Return all rows, their texts cleaned, and how many were changed."""
    mendings: dict[str, list[Row]] = defaultdict(list)
    plain, num_mended = [], 0
    for row in rows:
        text, done = cleaned(row.text, clean)
        num_mended += bool(done)
        for what in done:
            mendings[what].append(row)
        plain.append(row._replace(text=text))
    for what, mended in mendings.items():
        say("mended texts", what, "mended", mended)
    return plain, num_mended


def _equal_by_markup(
    raw: Sequence[Row], plain: Sequence[Row], clean: Clean
) -> Callable[[Iterable[Row]], str]:
    """Return a function that says how many of equal texts are so because their markup was cut out."""
    with_markup: dict[Text, set[Text]] = defaultdict(set)
    if clean in {"html", "0.1"}:
        for before, after in zip(raw, plain, strict=True):
            same = before.text == after.text
            with_markup[after.text].add(after.text if same else cleaned(before.text, "spaces")[0])

    def told(equal: Iterable[Row]) -> str:
        count = sum(len(with_markup[row.text]) > 1 for row in equal)
        if not count:
            return ""
        return (
            f"; the texts of {count:,} differ in markup, which was cut out (data.clean = {clean!r}): data.clean = "
            "'spaces' keeps it"
        )

    return told


def _with_text(rows: Iterable[Row], say: _Say) -> list[Row]:
    """Leave out rows without a text, and pairs that lack one of theirs."""
    blank = [r for r in rows if is_blank(r.text)]
    singles = (r for r in blank if isinstance(r.text, str))
    say("empty texts", "rows without a text were left out", "mended", singles)
    for side, which in enumerate(("first", "second")):
        lacking = (r for r in blank if not isinstance(r.text, str) and not sides(r.text)[side].strip())
        say("empty texts", f"pairs without a {which} text were left out", "mended", lacking)
    return [r for r in rows if not is_blank(r.text)]


def _without_contradictions(
    rows: Iterable[Row], equal_by_markup: Callable[[Iterable[Row]], str], say: _Say
) -> list[Row]:
    """Leave out all rows whose text has another label elsewhere."""
    labels: dict[Text, set[str | None]] = defaultdict(set)
    for row in rows:
        labels[row.text].add(row.label)
    contradicting = [r for r in rows if len(labels[r.text]) > 1]
    message = "rows with the same text and different labels were left out; one of them must be wrong"
    say("contradictions", message + equal_by_markup(contradicting), "warning", contradicting)
    return [r for r in rows if len(labels[r.text]) == 1]


def _without_duplicates(
    rows: Sequence[Row], equal_by_markup: Callable[[Iterable[Row]], str], say: _Say
) -> tuple[list[Row], list[Row]]:
    """Return one row of each text, and those left out."""
    kept: dict[Text, Row] = {}
    for row in sorted(rows, key=lambda r: _PRECEDENCE[r.split]):  # stable: the first of a split is kept
        kept.setdefault(row.text, row)
    spare = [r for r in rows if kept[r.text] is not r]
    across = [r for r in spare if kept[r.text].split != r.split]
    within = set(spare) - set(across)
    message = "rows with a text that came before were left out"
    say("duplicates", message + equal_by_markup(within), "mended", within)
    message = "rows with a text that validation or test holds, too, were left out of the other split"
    say("duplicates across splits", message + equal_by_markup(across), "mended", across)
    return [r for r in rows if kept[r.text] is r], spare


def _check_labels(rows: Sequence[Row], source: Source) -> list[Finding]:
    """Check that there are labels to learn, and texts enough of each."""
    pool = [r for r in rows if r.split in {None, "train"}]
    all_given = {r.split for r in rows} == {"train", "validation", "test"}
    file = source.rows[0].file if source.rows else ""
    smallest = 1 if all_given else SMALLEST_CLASS
    if source.task == "several_labels":
        names = source.label_names or sorted({name for r in rows for name in r.labels or ()})
        sets = [r.labels or () for r in pool]
        return [
            *check_names(names, file=file),
            *check_labels(sets, names=names, smallest=smallest, file=file),
        ]
    labels = [r.label for r in pool if r.label is not None]
    return [
        *check_names({str(r.label) for r in rows}, file=file),
        *check_classes(labels, smallest=smallest, file=file),
    ]


def _check_named(rows: Sequence[Row], ordered: Sequence[str] | None, positive: str | None) -> list[Finding]:
    """Check that the classes that are named are those of the texts."""
    classes, file = {str(r.label) for r in rows}, rows[0].file if rows else ""
    return [
        *([] if ordered is None else check_order(ordered, classes, file=file)),
        *([] if positive is None else check_positive(positive, classes, file=file)),
    ]


def _name_classes(rows: list[Row], say: _Say) -> list[Row]:
    """Give each row the name of its class, and say where that is not the label that was read."""
    counts = Counter(row.label for row in rows if row.label is not None)
    names = name_classes(counts)
    _tell_names(names, lambda labels: (row for row in rows if row.label in labels), say)
    return [row._replace(label=names[row.label] or None) if row.label in names else row for row in rows]


def _name_labels(rows: list[Row], say: _Say, source: Source) -> list[Row]:
    """Likewise where a text may have several labels; columns of 0 and 1 keep their names."""
    if source.label_names is not None:
        return rows
    names = name_classes({name for row in rows for name in row.labels or ()})
    _tell_names(names, lambda labels: (r for r in rows if not {*labels}.isdisjoint(r.labels or ())), say)
    named = [None if r.labels is None else tuple(sorted({names[n] for n in r.labels} - {""})) for r in rows]
    return [
        row if labels is None else row._replace(labels=labels, label=joined(labels))
        for row, labels in zip(rows, named, strict=True)
    ]


def _tell_names(
    names: Mapping[str, str],
    rows_of: Callable[[list[str]], Iterable[Row]],
    say: _Say,
) -> None:
    mended = "invisible characters and superfluous white space in labels were removed"
    changed: dict[str, list[str]] = defaultdict(list)
    for label, name in names.items():
        if label != name:
            same = name_classes([label])[label] != name
            what = f"{label!r} is the same value as {name!r}, so they are one class" if same else mended
            changed[what].append(label)
    for what, labels in changed.items():
        say("mended labels", what, "mended", rows_of(labels))
