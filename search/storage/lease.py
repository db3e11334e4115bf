"""One search a study at a time, on whatever machine: the lease is a row in the study's own database."""

from __future__ import annotations

import json
import math
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Self

import optuna
import psutil
from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from search.interrupts import held_back
from search.storage import optuna_private
from search.storage.database import Database
from search.storage.mirror import Mirror
from search.storage.optuna_private import SystemAttributeRow
from trainers.errors import InputError

HEARTBEAT_SECONDS = 10.0
"""Between two signs of life."""

GRACE_SECONDS = 60.0
"""A holder of another machine that has given no sign of life for so long is taken for dead.

By the clock of a server, which all share. SQLite has none, takes each machine's own, and these may differ by minutes: there
the holder's row is watched for so long, and must not change.
"""

LOOK_SECONDS = 1.0
"""Between two looks at a row that is watched."""

KEY = "frostline:lease"

_ROW = SystemAttributeRow


class LeaseHeldError(InputError):
    """Another process searches the study."""


class LeaseLostError(InputError):
    """Another process searches the study now; whatever this one still has under way is the other's to repeat."""


@dataclass(frozen=True)
class Holder:
    """Who searches a study.

    Attributes:
        token: Different for each taking.
        host: Name of the machine.
        place: What process ids are unique in: a boot of a machine, and in it a container.
        pid: Of the process.
        started: When the process was, in seconds since the epoch: process ids come back.
        seen: The last sign of life, in seconds since the epoch by the database's clock, or the machine's with SQLite.
    """

    token: str
    host: str
    place: str
    pid: int
    started: float
    seen: float = 0.0

    @classmethod
    def this_process(cls) -> Self:
        """Describe the process that calls."""
        return cls(
            token=uuid.uuid4().hex,
            host=platform.node(),
            place=_place(),
            pid=os.getpid(),
            started=psutil.Process().create_time(),
        )

    def is_dead(self, *, now: float, is_silent: bool | None = None) -> bool:
        """Tell whether the process is known to have ended, or is to be taken for dead.

        Args:
            now: Seconds since the epoch by the database's clock.
            is_silent: Whether its row was watched and did not change; None leaves it to the clock.
        """
        if self.place != _place():
            return now - self.seen > GRACE_SECONDS if is_silent is None else is_silent
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return abs(float(process.create_time()) - self.started) > 2
        except psutil.NoSuchProcess:
            return True


class Lease:
    """The right to search a study, held from the beginning of a ``with`` block to its end.

    While it is held, a thread gives signs of life, and every write to a trial makes sure, in its own
    transaction, that the lease has not gone to another process.

    Args:
        study: In a database.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._name = study.study_name
        self._row = _row_of(study)
        self._held = select(_ROW.value_json).where(self._row).with_for_update(read=True)
        self._study_id = optuna_private.study_id(study)
        self._database = database_of(study)
        self._storage = optuna_private.storage_of(study)
        self._own = Holder.this_process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._give_signs_of_life, daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        With SQLite, a holder of another machine that seems to be dead is watched first, for a minute.

        Raises:
            LeaseHeldError: A process that lives has it.
        """
        silent = _silent_row(self._database, self._row, tell=self._database.tell)
        with held_back():
            while not self._database.persist(lambda: self._take(silent)):
                pass
        self._database.fence = self._check
        self._database.is_patient = True
        if isinstance(self._storage, Mirror):
            with held_back():
                self._storage.hold(self._study_id)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back, if the database is there to take it."""
        self._ended.set()
        with held_back():
            self._thread.join()
            if isinstance(self._storage, Mirror):
                self._storage.release()
            # If not, the end of this process, or the grace period, will tell.
            with suppress(SQLAlchemyError), self._database.engine.begin() as connection:
                text = _read(connection, self._row)
                if text is not None and _parse(text).token == self._own.token:
                    connection.execute(delete(_ROW).where(self._row))

    def _take(self, silent: str | None) -> bool:
        """Take the lease unless it is held; False if another process was faster.

        Args:
            silent: The row, if it was watched and did not change.
        """
        with suppress(IntegrityError), self._database.engine.begin() as connection:
            now = _now(connection)
            text = _read(connection, self._row)
            own = json.dumps(asdict(replace(self._own, seen=now)))
            if text is None:
                row = {"study_id": self._study_id, "key": KEY, "value_json": own}
                connection.execute(insert(_ROW).values(row))
                return True
            holder = _parse(text)
            if holder.token == self._own.token:  # of an attempt whose answer was lost
                return True
            has_clock = _has_clock(self._database, holder)
            if not holder.is_dead(now=now, is_silent=None if has_clock else text == silent):
                raise LeaseHeldError(self._refusal(holder, now=now, has_clock=has_clock))
            return self._replace(connection, text, own)
        return False

    def _refusal(self, holder: Holder, *, now: float, has_clock: bool) -> str:
        who = f"process {holder.pid} of {holder.host}"
        if holder.place == _place():
            remedy = "wait for it, end it"
        else:
            remedy = f"wait for it, or, should it be dead, until {GRACE_SECONDS:g} s after that"
            clock = "" if has_clock else " by this machine's clock"
            if abs(now - holder.seen) > GRACE_SECONDS:  # it was watched
                who += (
                    f" (seen just now; its clock and this machine's differ by {abs(now - holder.seen):.0f} s)"
                )
            else:
                who += f" (last seen {max(0.0, now - holder.seen):.0f} s ago{clock})"
        return (
            f"study {self._name!r} must be searched by one process at a time, and {who} searches it; {remedy}, "
            "or watch it with python -m search.dashboard"
        )

    def _check(self, session: Session) -> None:
        """Raise if another process has the lease now; until the transaction ends, none can take it."""
        text = session.connection().scalar(self._held)
        holder = _parse(text) if text is not None else None
        if holder is None or holder.token != self._own.token:
            other = f"process {holder.pid} of {holder.host}" if holder else "another process"
            raise LeaseLostError(
                f"study {self._name!r} must be searched by one process at a time, and {other} took it over while "
                "this one was away; leave it to that one, which repeats the trials that were under way here"
            )

    def _give_signs_of_life(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(SQLAlchemyError), self._database.engine.begin() as connection:
                text = _read(connection, self._row)
                if text is None or _parse(text).token != self._own.token:
                    return
                self._replace(connection, text, json.dumps(asdict(replace(self._own, seen=_now(connection)))))

    def _replace(self, connection: Connection, old: str, new: str) -> bool:
        """Exchange what was read, in one step; False if it was exchanged meanwhile."""
        unchanged = and_(self._row, _ROW.value_json == old)
        return connection.execute(update(_ROW).where(unchanged).values(value_json=new)).rowcount == 1


def is_searched(study: optuna.Study) -> bool:
    """Tell whether a process that lives, as far as is known, searches a study."""
    database, row = database_of(study), _row_of(study)
    silent = _silent_row(database, row)

    def look() -> bool:
        with database.engine.begin() as connection:
            text = _read(connection, row)
            if text is None:
                return False
            holder = _parse(text)
            is_silent = None if _has_clock(database, holder) else text == silent
            return not holder.is_dead(now=_now(connection), is_silent=is_silent)

    return database.persist(look)


def database_of(study: optuna.Study) -> Database:
    """Return the database of a study that ``search.storage`` opened, below Optuna's cache."""
    database = optuna_private.uncached(optuna_private.storage_of(study))
    assert isinstance(database, Database)  # noqa: S101
    return database


def _silent_row(
    database: Database, row: ColumnElement[bool], *, tell: Callable[[str], None] = lambda _: None
) -> str | None:
    """Watch a holder that may be dead, where no clock tells; return its row if that did not change, else None."""

    def look() -> tuple[str | None, float]:
        with database.engine.begin() as connection:
            return _read(connection, row), _now(connection)

    def look_once() -> tuple[str | None, float]:
        with held_back():
            return database.persist(look)

    text, now = look_once()
    if text is None:
        return None
    holder = _parse(text)
    if _has_clock(database, holder) or abs(now - holder.seen) <= GRACE_SECONDS:  # fresh by either clock
        return None
    tell(
        f"process {holder.pid} of {holder.host} has searched this study; SQLite has no clock that both machines share, "
        f"hence it is watched for {GRACE_SECONDS:g} s to see whether it is still running"
    )
    for _ in range(
        math.ceil(GRACE_SECONDS / LOOK_SECONDS)
    ):  # looks count, not time: machines stand still together
        time.sleep(LOOK_SECONDS)
        if look_once()[0] != text:
            return None
    return text


def _has_clock(database: Database, holder: Holder) -> bool:
    """Tell whether this process and a holder read the same clock: a server's, or that of a system that both run on."""
    if database.engine.name != "sqlite" or holder.place == _place():
        return True
    boot = _boot()
    return boot is not None and boot in holder.place.split()


def _row_of(study: optuna.Study) -> ColumnElement[bool]:
    return and_(_ROW.study_id == optuna_private.study_id(study), _ROW.key == KEY)


def _read(connection: Connection, where: ColumnElement[bool]) -> str | None:
    text: str | None = connection.scalar(select(_ROW.value_json).where(where))
    return text


def _parse(text: str) -> Holder:
    return Holder(**json.loads(text))


def _now(connection: Connection) -> float:
    """Return the time by the database's clock: a server's, which all machines share, or with SQLite this machine's."""
    now = connection.execute(select(func.now())).scalar_one()
    return float((now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp())


def _place() -> str:
    parts = [platform.node(), *filter(None, [_boot()])]
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _boot() -> str | None:
    """Return what names a start of the system, and is the same in its containers; None where there is nothing such."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or None
    return None
