"""Commits that go wrong: for tests of what survives it."""

import sqlite3


class Killed(BaseException):
    """The process ends here; whatever catches it must do nothing for the one that was killed."""


class Faults:
    """Breaks commits of a database: ``plan`` holds, commit by commit, what happens to it.

    ``before``: nothing is committed; ``after``: it is, but the answer is lost; ``die before``, ``die after``: the
    process is killed there; None: nothing happens.
    """

    def __init__(self, database):
        self.plan = []
        self.num_commits = 0
        self._dialect = database.engine.dialect
        self._commit = self._dialect.do_commit
        self._dialect.do_commit = self.commit

    def commit(self, connection):
        self.num_commits += 1
        fault = self.plan.pop(0) if self.plan else None
        if fault is None or fault.endswith("after"):
            self._commit(connection)
        if fault is None:
            return
        if fault.startswith("die"):
            raise Killed
        error = self._dialect.loaded_dbapi.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error
