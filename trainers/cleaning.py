"""Texts made plain before anything looks at them: markup, white space, and characters that nobody sees."""

from __future__ import annotations

import html
import re

LONGEST_TEXT = 200_000
"""Characters kept of a text, half of them from its end: far more than any encoder reads."""

_TAG = re.compile(r"<[a-zA-Z/][^<>]{0,200}>")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Zero-width space and joiner of words, byte order mark, soft hyphen, marks of writing direction. The zero-width
# joiner and non-joiner stay: emoji and several scripts are spelt with them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def mend(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the plain form of a text, and what had to be done for it, in words.

    Entities are resolved, markup such as ``<br />`` is stripped, white space reduced to single blanks.
    """
    done = []
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT // 2]} {text[-LONGEST_TEXT // 2 :]}"
        done.append(f"texts of more than {LONGEST_TEXT:,} characters lost their middle")
    given = text
    text = html.unescape(text)  # first: an entity may stand for what is looked for below
    unescaped = text != given
    if "\0" in text:
        text = text.replace("\0", "")
        done.append("NUL characters were removed")
    if not text.isascii():
        if _SURROGATE.search(text):
            text = _SURROGATE.sub("\ufffd", text)
            done.append("halves of characters (lone surrogates) were replaced by \ufffd")
        if _INVISIBLE.search(text):
            text = _INVISIBLE.sub("", text)
            done.append("invisible characters (zero-width, soft hyphens, writing direction) were removed")
    plain = " ".join(_TAG.sub(" ", text).split())
    if unescaped or plain != text:
        done.append("markup and white space were cleaned")
    return plain, tuple(done)
