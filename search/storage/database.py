"""The study's database: a call is made again while it is locked, full or away.

Optuna's heartbeats of trials are not used: they exist under ``study.optimize`` alone, the first database error
ends their thread, and a trial killed before its first one is never found. Here one process at a time asks and
tells for a study (``search.storage.lease``), so every running trial that it does not know of is an orphan.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session

from search.interrupts import interrupted_at
from search.storage.credentials import GIVEN_BY, check_at_signs
from search.storage.optuna_private import REPEATABLE, STORAGE_LOGGER, HookedStorage, TrialRow, Write
from search.terminal import warn
from trainers.errors import InputError

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""How long a database may be away before the search gives up."""

INTERRUPTED_PATIENCE_SECONDS = 5.0
"""How long after Ctrl-C it is still waited for."""

SILENT_SECONDS = 1.0
"""Shorter absences are not worth a word."""

LONGEST_DELAY_SECONDS = 2.0
"""Between two attempts; the first ones follow one another faster."""

SQLITE_TIMEOUT_SECONDS = 1
"""How long SQLite itself waits for a lock, deaf to signals; after that it is asked again."""

SQLITE_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
SQLITE_PASSING = (*SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""Errors that may pass; of the others, a read-only or a damaged file, waiting mends none."""

NUM_OPENINGS = 20
"""Attempts to open a new database; each may find that another process made the next of its tables first."""

POSTGRES_OPTIONS = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""A server that vanished without a word is noticed after this many seconds, milliseconds for an open connection."""

_newest_trial: ContextVar[int | None] = ContextVar("newest_trial", default=None)
"""Greatest id before a trial is created: what is newer and looks the same is that trial."""


class DatabaseAwayError(InputError):
    """The database did not come back in time."""


class Database(HookedStorage):
    """Optuna's storage, whose calls survive a database that goes away and comes back.

    The answer to a write may be lost although the write was committed. Hence all that is written twice is the
    same afterwards as written once; for a trial that is created or ended this takes a second look.

    Attributes:
        is_patient: Whether to wait for a database that is away, not only for one that is locked.
        tell: Gets the one line that says what is being waited for.
        fence: Called in the transaction of every write to a trial; raises to forbid it.
    """

    def __init__(self, url: str, *, engine_kwargs: dict[str, Any] | None = None) -> None:
        self.is_patient = False
        self.tell: Callable[[str], None] = warn
        self.fence: Callable[[Session], None] = _no_fence
        self._away_since: float | None = None
        self._has_told = False
        self.persist(lambda: self._open(url, engine_kwargs))

    def persist(self, call: Callable[[], T]) -> T:
        """Make a call until the database answers, which must be harmless to do again.

        Raises:
            DatabaseAwayError: It did not answer in time.
        """
        delay = 0.05
        while True:
            try:
                result = call()
            except (SQLAlchemyError, StorageInternalError) as error:
                self._wait(error, delay)
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)
            else:
                if self._has_told and self._away_since is not None:
                    self.tell(f"the study's database is back after {_ago(self._away_since):.0f} s")
                self._away_since, self._has_told = None, False
                return result

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set state and values; True if that was done, now or by an attempt whose answer was lost."""
        set_once = super().set_trial_state_values
        num_attempts = 0

        def set_or_look() -> bool:
            nonlocal num_attempts
            num_attempts += 1
            try:
                done = set_once(trial_id, state, values)
            except UpdateFinishedTrialError:
                if num_attempts == 1 or not self._has_ended_so(trial_id, state, values):
                    raise
                return True
            # A trial that was found running already was waiting a moment ago, and nobody else takes any.
            return done or (num_attempts > 1 and state == TrialState.RUNNING)

        return self.persist(set_or_look)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        weakref.finalize(self, self.engine.dispose)

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        """Refuse a write that the fence forbids, or to a trial that has ended."""
        self.fence(self.scoped_session())
        super().check_trial_is_updatable(trial_id, trial_state)

    def _open(self, url: str, engine_kwargs: dict[str, Any] | None) -> None:
        """Connect, and make the tables unless other processes do so at the same moment."""
        for num_left in reversed(range(NUM_OPENINGS)):
            try:
                super().__init__(url, engine_kwargs=engine_kwargs)
                break
            except SQLAlchemyError as error:
                made_meanwhile = isinstance(error, IntegrityError) or "already exists" in str(error)
                if not (num_left and made_meanwhile):
                    raise
                self.engine.dispose()
        # Otherwise a connection that its pool keeps would be closed by nobody.
        weakref.finalize(self, self.engine.dispose)

    def create_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """Create a trial, once, whatever becomes of the answer."""
        create = super().create_trial
        # With a time of its own, by which it is known again.
        timed = template or create_trial(state=TrialState.RUNNING)
        token = _newest_trial.set(self.persist(lambda: self._newest_trial_id(study_id)))
        try:
            return self.persist(lambda: create(study_id, timed))
        finally:
            _newest_trial.reset(token)

    def insert_trial(self, study_id: int, template: FrozenTrial | None, session: Session) -> TrialRow:
        """Insert a trial, or find that an attempt whose answer was lost has done so."""
        # Here, since Optuna itself makes up to five attempts around this method.
        self.fence(session)
        newest = _newest_trial.get()
        if newest is not None and template is not None:
            found = session.query(TrialRow).filter(TrialRow.study_id == study_id, TrialRow.trial_id > newest)
            for row in found:
                if _same(self.trial_in(row), template):
                    return row
        return super().insert_trial(study_id, template, session)

    def write(self, writes: Sequence[Write]) -> None:
        """Make writes to trials in one transaction; done twice, they are done once."""
        write = super().write
        self.persist(lambda: write(writes))

    def has_newer(self, study_id: int, trial_id: int) -> bool:
        """Tell whether a study has a trial whose id is greater."""

        def look() -> bool:
            with self.engine.connect() as connection:
                newer = select(TrialRow.trial_id).where(
                    TrialRow.study_id == study_id, TrialRow.trial_id > trial_id
                )
                return connection.scalar(newer.limit(1)) is not None

        return self.persist(look)

    def _newest_trial_id(self, study_id: int) -> int:
        with self.engine.connect() as connection:
            of_study = select(TrialRow.trial_id).where(TrialRow.study_id == study_id)
            return connection.scalar(of_study.order_by(TrialRow.trial_id.desc()).limit(1)) or 0

    def _has_ended_so(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        trial = self.get_trial(trial_id)
        return trial.state == state and (values is None or trial.values == list(values))

    def _wait(self, error: Exception, delay_seconds: float) -> None:
        """Wait before the next attempt, or raise."""
        cause = _passing(error)
        if cause is None or not (self.is_patient or _is_locked(cause)):
            raise error
        if self._away_since is None:
            self._away_since = time.monotonic()
        limit = self._away_since + PATIENCE_SECONDS
        signalled = interrupted_at()
        if signalled is not None:
            limit = min(limit, signalled + INTERRUPTED_PATIENCE_SECONDS)
        if time.monotonic() >= limit:
            raise DatabaseAwayError(
                f"the study's database must answer, but did not for {_ago(self._away_since):.0f} s: "
                f"{driver_words(cause)}; bring it back and give the same command again: it finds and repeats "
                "the trials that were under way"
            ) from error
        if not self._has_told and _ago(self._away_since) >= SILENT_SECONDS:
            self._has_told = True
            self.tell(
                f"the study's database does not answer ({driver_words(cause)}); "
                f"waiting for it, at most {PATIENCE_SECONDS / 60:g} minutes"
            )
        time.sleep(delay_seconds)


def _persistent(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Database, *args: Any, **options: Any) -> Any:
        return self.persist(lambda: method(self, *args, **options))

    return call


# Reads, and writes that overwrite: done twice, they are done once.
for _name in (
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    *REPEATABLE,
):
    setattr(Database, _name, _persistent(getattr(RDBStorage, _name)))


def connect(storage_url: str | URL) -> Database:
    """Connect to the database of a URL.

    Raises:
        InputError: The URL is none, or its driver is unknown or not installed.
    """
    if isinstance(storage_url, str) and ("{" in storage_url or "}" in storage_url):
        raise InputError(
            f"{GIVEN_BY} must not hold {{ or }}, which Optuna takes for a placeholder; percent-encode them: %7B, %7D"
        )
    try:
        url = make_url(storage_url)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):  # a port that is no number is a plain ValueError
        raise InputError(
            f"{GIVEN_BY} must be a database URL such as sqlite:///study.db or postgresql://user@host/name; fix it"
        ) from None
    check_at_signs(url)
    options: dict[str, Any] = {}
    if backend == "sqlite":
        options["timeout"] = SQLITE_TIMEOUT_SECONDS
    elif backend in ("postgresql", "postgres"):
        if url.drivername == backend:
            url = url.set(drivername="postgresql+psycopg")
        options = {k: v for k, v in POSTGRES_OPTIONS.items() if k not in url.query}
    # It warns of every failed query, with the statement, before the error reaches us.
    logging.getLogger(STORAGE_LOGGER).setLevel(logging.ERROR)
    try:
        return Database(
            url.render_as_string(hide_password=False),
            engine_kwargs={"connect_args": options} if options else {},
        )
    except NoSuchModuleError:
        raise InputError(
            f"{GIVEN_BY}: no database {url.drivername!r} is known; use sqlite, or postgresql"
        ) from None
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or error
        remedy = "pip install 'frostline[postgres]'" if url.drivername == "postgresql+psycopg" else "pip"
        raise InputError(
            f"{GIVEN_BY}: the driver for {backend!r} is not installed ({missing}); install it with {remedy}"
        ) from None
    except (TypeError, ValueError):  # their words may quote an option's value
        raise InputError(
            f"{GIVEN_BY}: what stands after ? must be options of the {backend!r} driver, got "
            f"{', '.join(url.query) or 'none'}; fix their names and values"
        ) from None


def driver_words(error: BaseException) -> str:
    """Return the first line of what the driver said; what SQLAlchemy adds may hold the statement or the URL."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    said = str(getattr(cause, "orig", None) or "").strip()
    return said.splitlines()[0] if said else type(cause).__name__


def _passing(error: Exception) -> SQLAlchemyError | None:
    """Return what the driver met if it may pass."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(
        cause, PendingRollbackError
    ):  # Optuna asked again in the transaction that had just been lost
        cause = cause.__context__
    if not isinstance(cause, DBAPIError):
        return None
    if isinstance(cause.orig, sqlite3.Error):
        code = getattr(cause.orig, "sqlite_errorcode", 0)
        return cause if code & 0xFF in SQLITE_PASSING else None
    may_pass = isinstance(cause, OperationalError | InterfaceError) or cause.connection_invalidated
    return cause if may_pass else None


def _is_locked(cause: SQLAlchemyError) -> bool:
    code = getattr(getattr(cause, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF in SQLITE_LOCKED


def _same(stored: FrozenTrial, wanted: FrozenTrial) -> bool:
    """Tell whether a stored trial is the wanted one, number and id apart, which the database gave it."""
    parts = (
        "state",
        "datetime_start",
        "values",
        "params",
        "user_attrs",
        "system_attrs",
        "intermediate_values",
    )
    return all(getattr(stored, part) == getattr(wanted, part) for part in parts)


def _ago(moment: float) -> float:
    return time.monotonic() - moment


def _no_fence(_: Session) -> None:
    """Whoever has no lease may write."""
