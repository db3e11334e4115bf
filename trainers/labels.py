"""Classes: their names, whether there are enough texts of each, and whether labels follow the texts at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from trainers.findings import Finding

SMALLEST_CLASS = 10
"""Distinct texts that a class needs so that each split that is made gets some."""

LEVEL = 0.01
"""Shuffled labels pass for sound ones with this probability."""

FEWEST_TEXTS = 500
MOST_TEXTS = 2000
"""How many texts the test of labels looks at. With fewer, sound labels that are hard to learn are suspected: of 25
draws of Rotten Tomatoes' sentences each, 5 with 300 texts and none with 500."""

LONGEST_LOOK = 2000
"""Characters of each of them."""


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels, sorted: by number if all are integers."""
    names = set(labels)
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def check_classes(labels: Sequence[str], *, smallest: int, file: str) -> list[Finding]:
    """Say what is wrong with the classes: one alone, too few texts of some, names that differ only in case.

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
    if small:
        message = (
            f"each of the {len(counts):,} classes must have {smallest} distinct texts, got {_counted(small)}; add "
            "texts, or merge or drop these classes"
        )
        findings.append(Finding("small classes", message, "error", file, count=len(small)))
    spellings = defaultdict(list)
    for name in sorted(counts):
        spellings[" ".join(name.casefold().split())].append(name)
    for names in spellings.values():
        if len(names) > 1:
            message = (
                f"classes {' and '.join(map(repr, names))} differ in case or blanks alone; are they one?"
            )
            findings.append(Finding("alike classes", message, "warning", file, count=len(names)))
    return findings


def look_shuffled(texts: Sequence[str], labels: Sequence[str]) -> bool:
    """Tell whether the words of texts say nothing of their labels that chance would not explain.

    Naive Bayes on words is cross-validated; its balanced accuracy must be one that at most a hundredth of 999
    permutations of the labels reach. Labels without any relation to the texts are hence found out in 99 of
    100 cases. False unless there are enough texts, and two of a class for each fold.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline

    if len(texts) < FEWEST_TEXTS or min(Counter(labels).values()) < 5:
        return False
    draw = np.random.default_rng(0)
    chosen = draw.permutation(len(texts))[:MOST_TEXTS]
    names, truth = np.unique([labels[i] for i in chosen], return_inverse=True)
    if len(names) < 2 or min(np.bincount(truth)) < 5:
        return False
    # Single letters count as words: there are languages of such.
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+")  # noqa: S106
    model = make_pipeline(words, ComplementNB())
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    guessed = cross_val_predict(model, [texts[i][:LONGEST_LOOK] for i in chosen], truth, cv=folds)
    weight = 1 / np.bincount(truth)[truth]
    reached = weight @ (guessed == truth)
    permuted = [_score(draw.permutation(len(truth)), truth, weight, guessed) for _ in range(999)]
    return bool(1 + sum(score >= reached - 1e-9 for score in permuted) > LEVEL * 1000)


def _score(order: np.ndarray, truth: np.ndarray, weight: np.ndarray, guessed: np.ndarray) -> float:
    return float(weight[order] @ (guessed == truth[order]))


def _counted(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name!r} {count}" for name, count in list(counts.items())[:5])
    return shown + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")
