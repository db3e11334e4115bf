"""Classes: which labels are one, what they are called, and whether there are enough texts of each."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from trainers.config import Task
from trainers.data.findings import Finding

SMALLEST_CLASS = 10
"""Distinct texts that a class needs so that each split that is made gets some."""

LONGEST_NAME_SHOWN = 40

MOST_NUMBERS = 30
"""Distinct numbers that may be classes even if most of them occur once."""
MOST_FRACTIONS = 10
"""Distinct numbers with a fraction that may be classes."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
# Who writes 01 means a code, such as that of an area, and 1 may be another one.
_CODE = re.compile(r"[+-]?0+\d.*")
_MEASURED = re.compile(rf"(?:{_NUMBER.pattern})(?:[eE][+-]?\d+)?")
_TRUTH = {"true": 1, "false": 0}
_JOINERS = "\u200c\u200d"  # several scripts are spelt with them


def name_classes(labels: Iterable[str]) -> dict[str, str]:
    """Return the name of the class that each label stands for.

    Labels lose what nobody sees: characters without width, superfluous white space, how accents are put together. Those
    that are the same number are one class, which has the shortest of their names: ``0.0`` is ``0``. So are truth values
    if there is nothing else: ``True`` is ``true``, and ``1`` if there are numbers as well. A name that holds nothing is
    an empty string.
    """
    plain = {label: _plain(label) for label in labels}
    names = set(plain.values()) - {""}
    values = {name: _number(name) for name in names}
    known = {name: value if value is not None else _TRUTH.get(name.lower()) for name, value in values.items()}
    if set(known.values()) <= {0, 1}:
        values = {name: Decimal(value) for name, value in known.items() if value is not None}
    alike: dict[Decimal, list[str]] = defaultdict(list)
    for name, number in values.items():
        if number is not None:
            alike[number].append(name)
    # Of True, TRUE and true the one that Python writes.
    called = {
        name: min(group, key=lambda n: (len(n), n != n.title(), n))
        for group in alike.values()
        for name in group
    }
    return {label: called.get(name, name) for label, name in plain.items()}


def merged_classes(labels: Iterable[str]) -> dict[str, str]:
    """Return the name of the class for those labels alone that share it with others."""
    names = name_classes(labels)
    counts = Counter(names.values())
    return {label: name for label, name in names.items() if counts[name] > 1}


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels, sorted: by number if all are integers."""
    names = set(labels)
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def check_classes(labels: Sequence[str], *, smallest: int, file: str) -> list[Finding]:
    """Say what is wrong with the classes: none, one alone, too few texts of some, amounts instead of classes.

    Args:
        labels: Of the distinct texts that training takes its share of.
        smallest: Texts that each class must have.
        file: Where they come from.
    """
    counts = Counter(labels)
    if not counts:
        return [Finding("no texts", "must have labelled texts, got none; add them", "error", file)]
    if len(counts) == 1:
        message = f"must have texts of two classes at least, got {next(iter(counts))!r} alone; add the others"
        return [Finding("one class", message, "error", file)]
    findings = []
    small = {name: count for name, count in sorted(counts.items()) if count < smallest}
    once = sum(count == 1 for count in counts.values())
    # Numbers that have enough texts each are classes, whatever they look like.
    if (small or 2 * once > len(counts)) and _are_measured(counts):
        shown = ", ".join(repr(_short(name)) for name in sorted(counts)[:3])
        message = (
            f"labels must be a few classes, got {len(counts):,} distinct numbers such as {shown}, {once:,} of them "
            "once; regression is not supported: sort the numbers into a few bins, and make the bins the labels"
        )
        findings.append(Finding("numbers for classes", message, "error", file, count=len(counts)))
    elif small:
        message = (
            f"each of the {len(counts):,} classes must have {smallest} distinct texts, for a fifth of them each to go to validation "
            f"and test, got {_counted(small)}; add texts, or merge or drop these classes, or give all splits yourself "
            "(data.split), where training needs one text"
        )
        findings.append(Finding("small classes", message, "error", file, count=len(small)))
    return findings


def check_labels(
    label_sets: Sequence[Sequence[str]], *, names: Sequence[str], smallest: int, file: str
) -> list[Finding]:
    """Say what is wrong with the labels where a text may have several: none, one alone, one on too few texts or too many.

    Args:
        label_sets: Of the distinct texts that training takes its share of.
        names: Of all labels.
        smallest: Texts that must have each label, and texts that must not.
        file: Where they come from.
    """
    if not label_sets or not names:
        return [Finding("no texts", "must have labelled texts, got none; add them", "error", file)]
    if len(names) == 1:
        message = (
            f"several labels a text must be two labels at least, got {names[0]!r} alone; add the others, or give one "
            "label a text"
        )
        return [Finding("one class", message, "error", file)]
    counts = Counter(name for labels in label_sets for name in labels)
    findings = []
    for what, told in (
        ("have", {name: counts[name] for name in names}),
        ("be without", {name: len(label_sets) - counts[name] for name in names}),
    ):
        small = {name: count for name, count in told.items() if count < smallest}
        if small:
            message = (
                f"{smallest} distinct texts must {what} each of the {len(names):,} labels, got {_counted(small)}; add texts, "
                "or drop these labels"
            )
            findings.append(Finding("small classes", message, "error", file, count=len(small)))
    return findings


def check_names(labels: Iterable[str], *, file: str) -> list[Finding]:
    """Warn of classes whose names differ only in case, or only in leading zeros."""
    return [
        Finding(
            "alike classes",
            f"classes {' and '.join(map(repr, names))} differ in {what} alone; are they one?",
            "warning",
            file,
            count=len(names),
        )
        for what, spell in (("case", str.casefold), ("leading zeros", _without_zeros))
        for names in _alike(labels, spell)
    ]


def _alike(labels: Iterable[str], spell: Callable[[str], str]) -> list[list[str]]:
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(labels)):
        spellings[spell(name)].append(name)
    return [names for names in spellings.values() if len(names) > 1]


def _without_zeros(name: str) -> str:
    return name.lstrip("0") or "0" if name.isdecimal() else name


def _plain(label: str) -> str:
    if not label.isprintable():
        label = "".join(character for character in label if not _is_unseen(character))
    return unicodedata.normalize("NFC", " ".join(label.split()))


def _is_unseen(character: str) -> bool:
    """Tell whether a character takes no room and joins nothing."""
    if character.isspace() or character in _JOINERS:
        return False
    return unicodedata.category(character) in {"Cc", "Cf"}


def _number(name: str) -> Decimal | None:
    """Return the number that a label is; None for a word or a code."""
    return Decimal(name) if _NUMBER.fullmatch(name) and not _CODE.fullmatch(name) else None


def _are_measured(counts: dict[str, int]) -> bool:
    """Tell whether labels look like amounts, which a regression would learn, rather than classes."""
    if not all(_MEASURED.fullmatch(name) and not _CODE.fullmatch(name) for name in counts):
        return False
    fractions = sum(not float(name).is_integer() for name in counts)
    once = sum(count == 1 for count in counts.values())
    return (fractions > MOST_FRACTIONS and 2 * fractions > len(counts)) or (
        len(counts) > MOST_NUMBERS and 2 * once > len(counts)
    )


def _counted(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{_short(name)!r} {count}" for name, count in list(counts.items())[:5])
    return shown + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME_SHOWN else name[:LONGEST_NAME_SHOWN] + "..."


def task_of_labels(labels_N: npt.NDArray[np.int64]) -> Task:
    """Return the task of labels by their shape."""
    return "several_labels" if labels_N.ndim == 2 else "one_label"
