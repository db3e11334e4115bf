"""Passwords of a study's database: where its URL may come from, and how it is shown without them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainers.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

STORAGE_VARIABLE = "FROSTLINE_STORAGE"
"""Environment variable that holds the database URL, password included, where no other user can read it."""

GIVEN_BY = f"--storage or {STORAGE_VARIABLE}"
"""How errors call it."""

StorageOption = Annotated[
    str | None,
    Parameter(
        help=f"Database URL without a password. [default: {STORAGE_VARIABLE}, else study.db in the study's folder]"
    ),
]

# Drivers also take passwords in the query: password, passwd, sslpassword, PWD within odbc_connect.
_SECRET_KEY = re.compile(r"pass(?!file)|pwd|secret|token|credential|odbc_connect", re.IGNORECASE)


def chosen_url(option: str | None) -> str | None:
    """Return the database URL that ``--storage`` or the environment gives; None if neither does.

    Raises:
        InputError: The option holds a password, which every user of the machine sees in the process list.
    """
    if option is None:
        return os.environ.get(STORAGE_VARIABLE) or None
    if _holds_password(option):
        raise InputError(
            "--storage must hold no password, since the process list shows it to every user of this machine; set "
            f"the whole URL in the environment variable {STORAGE_VARIABLE}, or leave the password to ~/.pgpass or "
            "PGPASSWORD"
        )
    return option


def redacted(url: str | URL) -> str:
    """Write a database URL without password and query, which may hold one too."""
    from sqlalchemy.engine import make_url

    return make_url(url).set(query={}).render_as_string(hide_password=True)


def check_at_signs(url: URL) -> None:
    """Refuse a URL in which part of a password would be read as host or database, and be shown as such.

    Raises:
        InputError: It has an ``@`` too many.
    """
    if _has_stray_at_sign(url):
        raise InputError(
            "a database URL must hold one @, before the host, and this one holds more; percent-encode those in "
            "user and password: %40"
        )


def _holds_password(url: str) -> bool:
    """Tell whether a URL holds a password; of one that is malformed, whether it could."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "@" in url or bool(_SECRET_KEY.search(url))
    return (
        parsed.password is not None
        or _has_stray_at_sign(parsed)
        or any(_SECRET_KEY.search(key) for key in parsed.query)
    )


def _has_stray_at_sign(url: URL) -> bool:
    return url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}"
