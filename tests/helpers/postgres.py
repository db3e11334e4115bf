"""A PostgreSQL server of the tests' own, which may be stopped, killed and started again on its data."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

USER = "frostline"
PASSWORD = "winter-is-the-password"
PATIENCE_SECONDS = 60
PR_SET_PDEATHSIG = 1


def binaries():
    """Return the folder of the newest installed server's programs; None where there is none."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda p: float(p.parts[-3]), default=None)
    on_path = shutil.which("postgres")
    return newest.parent if newest else Path(on_path).resolve().parent if on_path else None


def unprivileged_user():
    """Return the user to run as: PostgreSQL refuses root. None means as we are."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class Server:
    """One server on a free loopback port.

    Its port and data outlive ``stop`` and ``kill``, so that ``start`` brings the same databases back.
    """

    def __init__(self):
        self._binaries = binaries()
        if self._binaries is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self._user = unprivileged_user()
        # Not below pytest's own folder, which other users cannot enter.
        self.folder = Path(tempfile.mkdtemp(prefix="frostline-postgres-"))
        self.data = self.folder / "data"
        if self._user:
            shutil.chown(self.folder, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = None
        # Linux takes the end of the thread that started a process for the end of its parent: so always the same one.
        self._starter = ThreadPoolExecutor(max_workers=1)
        self._create_data()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop("immediate")
        self._starter.shutdown()
        shutil.rmtree(self.folder)

    def url(self, database, *, driver="postgresql+psycopg", password=PASSWORD):
        """Return the URL of a database as a user would give it."""
        return f"{driver}://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template="template1"):
        """Create a database, empty or the copy of one that nobody is connected to, and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def connect(self, database):
        """Open a connection beside the product's own; it ends with its ``with`` block."""
        return psycopg.connect(self.url(database, driver="postgresql"), autocommit=True, connect_timeout=5)

    def start(self):
        """Start, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self._process is None:
                self._process = self._run("postgres", wait=False)
            if self._process.poll() is not None:
                # What a killed server left behind (shared memory of children that are still ending) must go first.
                self._process = None
            with contextlib.suppress(psycopg.OperationalError), self.connect("postgres"):
                return
            if time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start: {self.log()}")
            time.sleep(0.05)

    def stop(self, mode="fast"):
        """Shut down: ``fast`` ends every session in order, ``immediate`` as a crash would."""
        self._end({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self):
        """Kill -9 the server and every process of it."""
        if self._process is not None:
            for child in _children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def log(self):
        """Return the last of what the server said."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _create_data(self):
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._user:
            shutil.chown(password, self._user)
        options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-sync"]
        self._run("initdb", *options, "--locale=C")

    def _run(self, program, *arguments, wait=True):
        line = [self._binaries / program, "-D", self.data, *arguments]
        if program == "postgres":
            line += ["-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1", "-c", "fsync=off"]
        privileges = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        if self._user == "nobody":
            privileges["group"] = "nogroup"
        with (self.folder / "log").open("a") as log:
            # Of a session of its own: Ctrl-C at the tests is not meant for it.
            process = self._starter.submit(
                subprocess.Popen,
                line,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_end_with_parent if program == "postgres" else None,
                **privileges,
            ).result()
        if wait and process.wait() != 0:
            pytest.fail(f"{program} failed: {self.log()}")
        return process

    def _end(self, number):
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=PATIENCE_SECONDS)
            self._process = None


def _end_with_parent():
    """Ask Linux to shut this process down when the one that started it ends, even by kill -9."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _children(pid):
    with contextlib.suppress(FileNotFoundError):
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
