"""Texts -> token ids, as many of each as are kept.

Shapes: N texts, S tokens of all texts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainers.config import DataConfig
from trainers.data.pairs import Text, encode_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
