"""Texts that come in pairs: which columns hold them, how a tokenizer reads them, and which of two are nearly the same.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from trainers.data.cleaning import clean_text
from trainers.data.duplicates import near_duplicates
from trainers.data.findings import Finding
from trainers.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from trainers.config import Clean

Text: TypeAlias = str | tuple[str, str]
"""A text, or a pair of them."""

PAIR_NAMES = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2")),
    *(("sentence_a", "sentence_b"), ("text1", "text2"), ("text_1", "text_2"), ("text_a", "text_b")),
    *(("texta", "textb"), ("text", "text_pair"), ("question1", "question2"), ("question_1", "question_2")),
    *(("question", "answer"), ("question", "passage"), ("question", "context"), ("question", "sentence")),
    *(("query", "passage"), ("query", "document"), ("query", "answer"), ("claim", "evidence")),
)
"""Usual names of two columns that are read together; upper and lower case are the same."""

OFTEN = 0.1
"""Share of the evaluated pairs; if more of them share a text with a training pair, that is told."""


def named_pair(columns: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two of ``columns`` that have the usual names of a pair; None if there are none."""
    plain = {column.strip().lower(): column for column in reversed(list(columns))}
    return next(((plain[a], plain[b]) for a, b in PAIR_NAMES if a in plain and b in plain), None)


def sides(text: Text) -> tuple[str, ...]:
    """Return both texts of a pair, or a single one alone."""
    return (text,) if isinstance(text, str) else text


def is_blank(text: Text) -> bool:
    """Tell whether a text, or one of a pair, holds nothing."""
    return not all(side.strip() for side in sides(text))


def cleaned(text: Text, clean: Clean) -> tuple[Text, tuple[str, ...]]:
    """Return the plain form of a text or of both of a pair, and what had to be done for it; see ``clean_text``."""
    if isinstance(text, str):
        return clean_text(text, clean)
    (first, done), (second, more) = (clean_text(side, clean) for side in text)
    return (first, second), tuple(dict.fromkeys(done + more))


def near_duplicate_texts(texts: Sequence[Text], *, emoji: bool) -> npt.NDArray[np.int64]:
    """Return for each text, or pair, the index of the first one of its cluster; see ``near_duplicates``.

    Pairs are nearly the same if their first texts are, and their second ones. All words together would not tell: two
    hypotheses about one long premise share nearly all of them.
    """
    singles = [text for text in texts if isinstance(text, str)]
    if len(singles) == len(texts):
        return near_duplicates(singles, emoji=emoji)
    clusters = []
    for side in zip(*map(sides, texts), strict=True):
        place = {text: i for i, text in enumerate(dict.fromkeys(side))}
        clusters.append(near_duplicates(list(place), emoji=emoji)[[place[text] for text in side]])
    _, first, cluster_N = np.unique(np.stack(clusters), axis=1, return_index=True, return_inverse=True)
    return first[cluster_N.reshape(-1)].astype(np.int64)


def encode_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> tuple[list[list[int]], list[list[int]] | None, npt.NDArray[np.int64]]:
    """Tokenise pairs in the tokenizer's own form, and cut the longer text of one that is too long, token by token.

    Args:
        pairs: One entry a pair.
        tokenizer: Of the encoder.
        max_length: Tokens kept of both texts together, special tokens included.

    Returns:
        The token ids; the segment of each, None if the tokenizer tells none; the length of each pair before it was cut.

    Raises:
        InputError: The tokenizer puts nothing between two texts, and does not tell them apart otherwise.
    """
    tells = has_segments(tokenizer)
    if not tells and not tokenizer.num_special_tokens_to_add(pair=True):
        raise InputError(
            "a pair needs a tokenizer that puts a token between two texts or tells their segments, got one that does "
            "neither; use another encoder, or join the texts in one column"
        )
    if not pairs:
        return [], [] if tells else None, np.empty(0, dtype=np.int64)

    def run(chosen: Sequence[tuple[str, str]], **cut: object) -> tuple[list[list[int]], list[list[int]]]:
        firsts, seconds = map(list, zip(*chosen, strict=True))
        found = tokenizer(firsts, seconds, return_attention_mask=False, verbose=False, **cut)
        return found["input_ids"], found["token_type_ids"] if tells else []

    rows, segments = run(pairs)
    lengths_N = np.array([len(ids) for ids in rows], dtype=np.int64)
    long = np.flatnonzero(lengths_N > max_length).tolist()
    if long:
        cut = run([pairs[i] for i in long], truncation="longest_first", max_length=max_length)
        for whole, part in zip((rows, segments), cut, strict=True):
            for i, row in zip(long, part, strict=False):  # without segments there are none
                whole[i] = row
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()  # it would be saved with the tokenizer
    return rows, segments if tells else None, lengths_N


def has_segments(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the tokenizer says of each token which of two texts it is from."""
    return "token_type_ids" in tokenizer.model_input_names


def shared_texts(
    texts: Sequence[Text],
    train: npt.NDArray[np.int64],
    evaluated: npt.NDArray[np.int64],
    columns: tuple[str, str],
    *,
    of: str = "validation and test",
) -> list[Finding]:
    """Warn if many pairs of validation and test share one of their texts with a training pair.

    Args:
        texts: Of all rows.
        train: Rows of the training split.
        evaluated: Rows of the other two.
        columns: Names of the two texts.
        of: What the other two are called; where there are folds, only one of them is there.
    """
    findings = []
    for side, column in enumerate(columns):
        known = {texts[i][side] for i in train}
        count = sum(texts[i][side] in known for i in evaluated)
        if count > OFTEN * len(evaluated):
            message = (
                f"{count:,} of the {len(evaluated):,} pairs of {of} have a text in column {column!r} that "
                "training has, too, in another pair: figures are those of new pairs, not of texts that are new as well"
            )
            findings.append(Finding("shared texts", message, "warning", count=count))
    return findings
