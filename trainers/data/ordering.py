"""The order of classes: what the user says of it, and what their names let one guess."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from trainers.data.findings import Finding
from trainers.errors import nearest

MOST_STEPS = 11
"""Whole numbers that are no more than so many may be steps: 0 to 10."""
LARGEST_STEP = 100
"""The size from which on a whole number is hardly a step."""

KNOWN_ORDERS = (
    ("very low", "low", "medium", "high", "very high", "critical"),
    ("low", "moderate", "high"),
    ("low", "normal", "high", "urgent"),
    ("never", "rarely", "seldom", "sometimes", "often", "usually", "always"),
    (
        "strongly disagree",
        "disagree",
        "somewhat disagree",
        "neutral",
        "neither agree nor disagree",
        "somewhat agree",
        "agree",
        "strongly agree",
    ),
    (
        "very negative",
        "strongly negative",
        "negative",
        "somewhat negative",
        "neutral",
        "somewhat positive",
        "positive",
        "strongly positive",
        "very positive",
    ),
    (
        "very bad",
        "terrible",
        "bad",
        "poor",
        "average",
        "okay",
        "ok",
        "fair",
        "good",
        "very good",
        "great",
        "excellent",
    ),
    (
        "very dissatisfied",
        "dissatisfied",
        "neutral",
        "satisfied",
        "very satisfied",
    ),
    ("very unlikely", "unlikely", "neutral", "likely", "very likely"),
    ("none", "minimal", "mild", "moderate", "severe", "very severe"),
    ("trivial", "minor", "major", "critical", "blocker"),
    ("very easy", "easy", "medium", "hard", "very hard"),
    ("beginner", "elementary", "intermediate", "advanced", "expert"),
    ("tiny", "small", "medium", "large", "huge"),
)
"""Words that people order so; classes need not be all of them."""

_STEP = re.compile(r"(?P<before>\D*?)(?P<number>-?\d+)(?P<after>\D*)")


def guess_order(names: Sequence[str]) -> tuple[str, ...] | None:
    """Return classes in the order that their names seem to have: small whole numbers, or words of a known order.

    A word beside a number is the same for all, but for an s: ``1 star``, ``2 stars``. Two classes have no order worth a
    word, and numbers may be mere codes: nobody else knows.
    """
    if len(names) < 3:
        return None
    return _by_number(names) or _by_words(names)


def check_order(ordered: Sequence[str], names: Collection[str], *, file: str) -> list[Finding]:
    """Say where ``data.ordered`` and the classes are not the same."""
    findings = []
    unknown, missing = [n for n in ordered if n not in names], sorted({*names} - {*ordered})
    if unknown:
        message = (
            f"data.ordered must name classes, got {_listed(unknown)}, of which there is no text; classes are "
            f"{_listed(sorted(names))}{nearest(unknown[0], names) or '; fix it'}"
        )
        findings.append(Finding("no such class", message, "error", file, count=len(unknown)))
    if missing:
        message = (
            f"data.ordered must name every class, got none of {_listed(missing)}; put them in their place"
        )
        findings.append(Finding("class without a place", message, "error", file, count=len(missing)))
    return findings


def check_positive(positive: str, names: Collection[str], *, file: str) -> list[Finding]:
    """Say why ``data.positive`` is not one of two classes."""
    if len(names) != 2:
        message = f"data.positive is one of two classes, got {len(names)} classes; remove it"
        return [Finding("positive class", message, "error", file)]
    if positive not in names:
        message = (
            f"data.positive must be one of {_listed(sorted(names))}, got {positive!r}"
            f"{nearest(positive, names) or '; fix it'}"
        )
        return [Finding("positive class", message, "error", file)]
    return []


def _by_number(names: Sequence[str]) -> tuple[str, ...] | None:
    found = [_STEP.fullmatch(name.strip()) for name in names]
    if not all(found) or len(names) > MOST_STEPS:
        return None
    steps = {name: match for name, match in zip(names, found, strict=True) if match is not None}
    if (
        len({(m["before"].strip().lower(), m["after"].strip().lower().rstrip("s")) for m in steps.values()})
        > 1
    ):
        return None
    numbers = {name: int(match["number"]) for name, match in steps.items()}
    if len({*numbers.values()}) < len(names) or max(map(abs, numbers.values())) > LARGEST_STEP:
        return None
    return tuple(sorted(names, key=numbers.__getitem__))


def _by_words(names: Sequence[str]) -> tuple[str, ...] | None:
    plain = {re.sub(r"[\s_-]+", " ", name.strip().lower()): name for name in names}
    for order in KNOWN_ORDERS:
        if len(plain) == len(names) and plain.keys() <= {*order}:
            return tuple(plain[word] for word in order if word in plain)
    return None


def _listed(names: Sequence[str], *, most: int = 10) -> str:
    return ", ".join(map(repr, names[:most])) + (
        f" and {len(names) - most} more" if len(names) > most else ""
    )
