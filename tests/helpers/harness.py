"""A search under the real command, with faults on its way, and what came of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
from invariants import Broken, check_invariants, check_report, of, read_ledgers

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parents[1] / "chaos" / "inside"
PATIENCE_SECONDS = 300
"""Enough for a machine that is busy with something else."""

GRACE_SECONDS = 120
"""What a search starts may outlive it by so much: a forkserver sees its end after its imports, which take seconds, or
on a busy machine a minute."""


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Exit code; negative is the signal that killed it.
        output: Everything that it said.
    """

    code: int
    output: str

    @property
    def last_line(self):
        """What the user saw last."""
        return self.output.strip().rpartition("\n")[2].strip()

    def line_with(self, *choices):
        """Return the first line that holds the words of the first choice, else of the next; empty if none does."""
        lines = self.output.splitlines()
        return next((line.strip() for words in choices for line in lines if words in line), "")


class Starter:
    """The process that commands are started from; see inside/warm.py.

    Args:
        paths: Folders with what stands in for packages.
    """

    def __init__(self, paths):
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "PYTHONPATH": os.pathsep.join(map(str, [INSIDE, ROOT, *paths])),
        }
        self._process = subprocess.Popen(
            [sys.executable, INSIDE / "warm.py"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, **request):
        """Start a command and return its process id."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def end(self):
        """End the process, not what it started."""
        self._process.communicate()


class Launch:
    """One start of a command, in a session of its own, so that none of its processes hides.

    Args:
        pid: Of the command.
        folder: Where its processes leave their ledgers.
        log: Where its output goes; the exit code comes to stand beside it.
    """

    def __init__(self, pid, *, folder, log):
        self.pid = pid
        self._folder = folder
        self._log = log

    def poll(self):
        """Return the exit code; None while it runs."""
        code = self._log.with_suffix(".code")
        return int(code.read_text()) if code.exists() else None

    def wait(self):
        """Wait until it has ended, whatever ended it, and return how."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self._log.read_text()}"
            time.sleep(0.01)
        return Ending(self.poll(), self._log.read_text())

    def wait_for_fault(self):
        """Wait until the fault has struck."""
        self._wait_until((self._folder / "fired").exists)

    def wait_for(self, event):
        """Wait until a living process of this start has such an entry in its ledger, or all has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.poll() is None:
            assert time.monotonic() < deadline, f"nothing happened:\n{self._log.read_text()}"
            members = self.members()
            if any(e["pid"] in members for e in of(read_ledgers(self._folder), event)):
                return
            time.sleep(0.05)

    def wait_for_words(self, words):
        """Wait until it has said them."""
        self._wait_until(lambda: words in self._log.read_text())

    def go(self):
        """Let the process that waits at a point go on."""
        (self._folder / "go").touch()

    def kill(self):
        """Kill -9 the command itself, as nobody can prepare for."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self):
        """Let it stand still with all its processes, as on a machine that sleeps."""
        for pid in self.members():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        """Let it go on after ``freeze``."""
        for pid in self.members():
            os.kill(pid, signal.SIGCONT)

    def members(self):
        """Return the living processes of its session by what they are: search, forkserver, worker, other."""
        parents, tracking = {}, set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                command = (stat.parent / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == self.pid and state != "Z":
                pid = int(stat.parent.name)
                parents[pid] = int(parent)
                tracking |= {pid} if b"resource_tracker" in command else set()

        def kind(pid):
            if pid == self.pid:
                return "search"
            if parents[pid] == self.pid:
                return "other" if pid in tracking else "forkserver"
            return "worker" if parents.get(parents[pid]) == self.pid else "other"

        return {pid: kind(pid) for pid in parents}

    def left_behind(self):
        """Return the processes that are still there some time after the command has ended, and end them."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.05)
        members = self.members()
        self.end()
        return sorted(members.values())

    def end(self):
        """Leave no process of it."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _wait_until(self, holds):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert self.poll() is None, f"ended too early:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"nothing happened:\n{self._log.read_text()}"
            time.sleep(0.01)


class Search:
    """A study that is searched with the real command, started again after each fault.

    Args:
        study: TOML file.
        folder: For ledgers and logs.
        starter: Starts the command.
        constants: The product's, by module, in place of its own.
        environment: What its processes find there beside what the starter gives them.
        fresh: Whether each start is a new interpreter, which takes seconds longer.
        num_trials: Finished trials asked for; may be raised later.
        storage: URL of the database; None leaves it to the command.
        workers: Trials under way at once.
        step_seconds: How long each training step takes longer than it needs, so that faults meet trials.
    """

    def __init__(
        self,
        study,
        *,
        folder,
        starter,
        environment=None,
        constants=None,
        num_trials=4,
        storage=None,
        workers=2,
        step_seconds=0.02,
        fresh=False,
    ):
        self.study = study
        self.num_trials = num_trials
        self.folder = folder
        self.results = study.parent / study.stem
        self.endings = []
        self._launches = []
        self._left_behind = []
        self._starter = starter
        self._environment = {
            **starter.environment,
            **(environment or {}),
            "CHAOS_CONSTANTS": json.dumps(constants or {}),
            "CHAOS_FOLDER": str(folder),
            "CHAOS_STEP_SECONDS": str(step_seconds),
        }
        self._fresh = fresh
        self._storage = storage
        self._workers = workers

    def start(self, *, at=None, do="kill", nth=1, module="search.run", arguments=(), host=None):
        """Start the command, once more; if told so, a fault strikes.

        Args:
            at: Point where it strikes, such as ``after ask``.
            do: What it is; see ``ACTIONS`` in inside/sitecustomize.py.
            nth: At which visit to the point.
            module: Which command.
            arguments: Further ones.
            host: Name of the machine; None leaves it its own.
        """
        for name in ("fired", "go", "armed"):
            (self.folder / name).unlink(missing_ok=True)
        fault = {"CHAOS_POINT": at, "CHAOS_ACTION": do, "CHAOS_NTH": str(nth)} if at else {}
        if at:
            (self.folder / "armed").touch()
        line = ["--study", str(self.study)]
        if self._storage:
            line += ["--storage", self._storage]
        if module == "search.run":
            line += ["--trials", str(self.num_trials), "--workers", str(self._workers), "--recipes", "none"]
        log = self.folder / f"{len(self._launches)}.log"
        pid = self._starter.start(
            module=module,
            arguments=[*line, *arguments],
            environment=self._environment | fault | ({"CHAOS_HOST": host} if host else {}),
            log=str(log),
            fresh=self._fresh,
        )
        launch = Launch(pid, folder=self.folder, log=log)
        self._launches.append(launch)
        return launch

    def run(self, **options):
        """Start the command and wait for its end; arguments as for ``start``."""
        return self.ended(self.start(**options))

    def ended(self, launch):
        """Wait for the end of a start, and see whether it left a process behind."""
        ending = launch.wait()
        self._left_behind += launch.left_behind()
        self.endings.append(ending)
        return ending

    def strike(self, **options):
        """Start the command, and see that the fault strikes; arguments as for ``start``."""
        ending = self.run(**options)
        assert (self.folder / "fired").exists(), f"{options['at']} was not reached:\n{ending.output}"
        return ending

    def finish(self):
        """Start the command again: it must end by itself."""
        ending = self.run()
        assert ending.code == 0, ending.output
        return ending

    def trials(self):
        """Return the study's trials, read anew."""
        url = self._storage or f"sqlite:///{self.results / 'study.db'}"
        storage = optuna.storages.RDBStorage(url)
        try:
            return optuna.load_study(study_name=self.study.stem, storage=storage).trials
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def report(self):
        """Return what report.json says."""
        return json.loads((self.results / "report.json").read_text())

    def broken(self):
        """Return the invariants that do not hold, now that the search has ended by itself."""
        trials = self.trials()
        return [
            *check_invariants(trials, read_ledgers(self.folder), num_trials=self.num_trials),
            *check_report(self.report(), trials, num_trials=self.num_trials),
            *(Broken("wrong", f"a {kind} outlived its search") for kind in self._left_behind),
        ]

    def end(self):
        """Leave no process of it."""
        for launch in self._launches:
            launch.end()
