"""Whether labels follow the texts at all, or stand beside the wrong ones.

Shapes: N texts, C classes, W words, P permutations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.data.pairs import Text

LEVEL = 0.03
"""Shuffled labels pass for sound ones with this probability."""

NUM_PERMUTATIONS = 199

FEWEST_TEXTS = 500
"""As many texts, or as many as tell the same where classes are uneven, are needed before anything is said."""

MOST_TEXTS = 1000
"""Texts looked at; rare classes are looked at in full."""

LONGEST_LOOK = 1000
"""Characters of a text that are looked at."""

MOST_CHARACTERS = 200
"""Of these, where runs of two to four characters are looked at."""

# German and Finnish have a blank after six to eight characters on average; Chinese, Japanese and Thai have none.
_LONGEST_WORDS = 12
_FEWEST_BLANKS = 3
_PIECE = re.compile(r"\w+|[^\w\s]")


def look_shuffled(texts: Sequence[Text], labels: Sequence[str]) -> bool:
    """Tell whether texts of one class are no more alike than chance would have them.

    The similarity of two texts is the cosine of their TF-IDF vectors of words, and of characters where there are
    hardly any blanks. Summed over all pairs within a class, it is compared with the same sum after the labels were
    permuted. That is exact whatever the classes, their number and their sizes: shuffled labels are found out in 97 of
    100 cases. False unless there is enough to tell sound labels by; see ``num_telling``.

    Pairs are looked at twice: at their words, each text's apart, and at which words the two texts share. Labels that
    follow from either are sound, so that shuffled ones of pairs are found out in 94 of 100 cases at least.
    """
    names, classes_N = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return False
    draw = np.random.default_rng(0)
    chosen = _chosen(classes_N, draw)
    classes_N = classes_N[chosen]
    if num_telling(np.bincount(classes_N)) < FEWEST_TEXTS:
        return False
    looks: tuple[Callable[[Any], list[str]], ...]
    looks = (_words,) if isinstance(texts[0], str) else (_words_of_sides, _shared_words)
    few = [texts[i] for i in chosen]
    return all(chance(similarity(few, words=words), classes_N, draw) > LEVEL for words in looks)


def similarity(
    texts: Sequence[Text], *, words: Callable[[Any], list[str]] | None = None
) -> npt.NDArray[np.float32]:
    """Return the cosines of all pairs, similarity_NN, without what all have in common; 0 for a text and itself."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts_NW = TfidfVectorizer(analyzer=words or _words, sublinear_tf=True, dtype=np.float32).fit_transform(
        texts
    )
    similarity_NN: npt.NDArray[np.float32] = (texts_NW @ texts_NW.T).toarray()
    mean_N = similarity_NN.mean(axis=0)
    similarity_NN += mean_N.mean() - mean_N - mean_N[:, None]
    np.fill_diagonal(similarity_NN, 0)
    return similarity_NN


def chance(
    similarity_NN: npt.NDArray[np.float32], classes_N: npt.NDArray[np.intp], draw: np.random.Generator
) -> float:
    """Return how often permuted labels group texts as alike as ``classes_N`` does."""
    num_texts = len(classes_N)
    orders_PN = np.stack(
        [np.arange(num_texts), *(draw.permutation(num_texts) for _ in range(NUM_PERMUTATIONS))]
    )
    permuted_PN = classes_N[orders_PN]
    sums_P = np.zeros(len(orders_PN))
    for name in range(classes_N.max() + 1):
        member_PN = (permuted_PN == name).astype(np.float32)
        sums_P += np.einsum("pn,pn->p", member_PN @ similarity_NN, member_PN)
    return float(np.mean(sums_P >= sums_P[0] - 1e-6 * abs(sums_P[0])))


def num_telling(texts_C: npt.ArrayLike) -> float:
    """Return how many texts of two equal classes tell as much as these: few where one class has nearly all.

    The sum over pairs has a signal that grows with a class's pairs, and a noise that grows with their root.

    Args:
        texts_C: Texts of each class.
    """
    texts_C = np.asarray(texts_C, dtype=float)
    apart_C = texts_C * (1 - texts_C / texts_C.sum())
    return 4 * math.sqrt((apart_C**2).sum() / 2)


def _chosen(classes_N: npt.NDArray[np.intp], draw: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return ``MOST_TEXTS`` texts at most, of each class the same number or all."""
    texts_C = np.bincount(classes_N)
    share = largest_share(texts_C)
    order = draw.permutation(len(classes_N))
    return np.concatenate([order[classes_N[order] == name][:share] for name in range(len(texts_C))])


def largest_share(texts_C: npt.ArrayLike) -> int:
    """Return how many texts of a class are looked at, at most, given how many there are of each."""
    left = MOST_TEXTS
    sizes_C = np.sort(texts_C)
    for i, size in enumerate(sizes_C):
        share = left // (len(sizes_C) - i)
        if size > share:
            return share
        left -= int(size)
    return MOST_TEXTS


def _words(text: str) -> list[str]:
    """Return the words of a text, with and without the punctuation around them; runs of characters, too, if it has few blanks."""
    text = text[:LONGEST_LOOK].lower()
    words = _PIECE.findall(text) + text.split()
    num_blanks = text.count(" ")
    if num_blanks >= _FEWEST_BLANKS and _LONGEST_WORDS * num_blanks >= len(text):
        return words
    text = text[:MOST_CHARACTERS]
    return words + [text[i : i + size] for size in (2, 3, 4) for i in range(len(text) - size + 1)]


def _words_of_sides(pair: tuple[str, str]) -> list[str]:
    """Return the words of both texts of a pair, each with the number of its text."""
    return [f"{side} {word}" for side, text in enumerate(pair) for word in _words(text)]


def _shared_words(pair: tuple[str, str]) -> list[str]:
    """Return how many of their words the two texts of a pair share, in tenths, and which ones the second has alone."""
    first, second = ({*_PIECE.findall(text[:LONGEST_LOOK].lower())} for text in pair)
    both = len(first & second)
    shares = [10 * both // max(1, len(words)) for words in (first | second, first, second)]
    return [
        *(f"share {i} {share}" for i, share in enumerate(shares)),
        *(f"alone {w}" for w in second - first),
    ]
