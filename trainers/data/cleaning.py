"""Texts made plain before anything looks at them: markup, white space, and characters that nobody sees."""

from __future__ import annotations

import html
import re
from html.entities import html5

from trainers.config import Clean

LONGEST_TEXT = 200_000
"""Characters kept of a text, half of them from its end: far more than any encoder reads."""

# Elements of HTML's living standard, and of the older ones that its section on obsolete features lists.
_ELEMENTS = """
a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote body br
button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed
fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image
img input ins isindex kbd keygen label legend li link listing main map mark marquee math menu menuitem meta meter
multicol nav nextid nobr noembed noframes noscript object ol optgroup option output p param picture plaintext pre
progress q rb rbc rp rt rtc ruby s samp script search section select slot small source spacer span strike strong style
sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr xmp
"""
# Attributes that stand without a value.
_FLAGS = """
allowfullscreen async autofocus autoplay checked compact controls default defer disabled download formnovalidate hidden
inert ismap itemscope loop multiple muted nohref nomodule noresize noshade novalidate nowrap open playsinline readonly
required reversed selected
"""
# An attribute has a value or is one of these: <b and c> holds words, not attributes. A quote may end it without a blank.
_TAG = re.compile(
    rf"""</?(?:{"|".join(_ELEMENTS.split())})
    (?: (?:\s+|(?<=["'])) (?: [a-z][\w:.-]*+ \s*+ = \s*+ (?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)
                            | (?:{"|".join(_FLAGS.split())}) (?=[\s/>]) ) )*
    \s*+ /? \s*+ >""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_LIKE_A_TAG = re.compile(r"<[a-zA-Z/][^<>]{0,200}>")
# Browsers read &copy without its semicolon, too; in texts that is the middle of an address, as in ?a=1&copy=2.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[a-zA-Z][a-zA-Z0-9]{1,31};)")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Zero-width space and joiner of words, byte order mark, soft hyphen, marks of writing direction. The zero-width
# joiner and non-joiner stay: emoji and several scripts are spelt with them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def clean_text(text: str, clean: Clean = "html") -> tuple[str, tuple[str, ...]]:
    """Return the plain form of a text, and what had to be done for it, in words.

    HTML's entities are resolved, its tags, such as ``<br />``, are cut out, white space is reduced to single blanks. A
    tag of another name, or with words in it that are no attributes, is text.

    Args:
        text: As it was read.
        clean: What to cut out. Whatever it is, no encoder can read half a character, nor a text of any length.
    """
    done = []
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT // 2]} {text[-LONGEST_TEXT // 2 :]}"
        done.append(f"texts of more than {LONGEST_TEXT:,} characters lost their middle")
    given = text
    if clean == "html":  # first: an entity may stand for what is looked for below
        text = _ENTITY.sub(_character, text)
    elif clean == "0.1":
        text = html.unescape(text)
    unescaped = text != given
    if "\0" in text and clean != "none":
        text = text.replace("\0", "")
        done.append("NUL characters were removed")
    if not text.isascii():
        if _SURROGATE.search(text):
            text = _SURROGATE.sub("\ufffd", text)
            done.append("halves of characters (lone surrogates) were replaced by \ufffd")
        if clean != "none" and _INVISIBLE.search(text):
            text = _INVISIBLE.sub("", text)
            done.append("invisible characters (zero-width, soft hyphens, writing direction) were removed")
    if clean == "none":
        return text, tuple(done)
    tag = {"html": _TAG, "0.1": _LIKE_A_TAG}.get(clean)
    plain = " ".join((tag.sub(" ", text) if tag and "<" in text else text).split())
    if unescaped or plain != text:
        done.append("white space was cleaned" if clean == "spaces" else "markup and white space were cleaned")
    return plain, tuple(done)


def _character(entity: re.Match[str]) -> str:
    """Return what an entity stands for; one that HTML does not know is text."""
    known = entity[0][1] == "#" or entity[0][1:] in html5
    return html.unescape(entity[0]) if known else entity[0]
