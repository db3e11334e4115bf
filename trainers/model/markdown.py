"""How a card writes what users named, and shares."""

from __future__ import annotations

import re

from trainers.errors import printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$!@:])")


def escape(text: object) -> str:
    """Write a text of whatever origin on one line of Markdown, in which nothing is markup, a table's bar or a link."""
    return _MARKUP.sub(r"\\\1", printable(text)).replace("www.", "www\\.")


def percent(share: float | None) -> str:
    """Write a share as percent; None is a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"
