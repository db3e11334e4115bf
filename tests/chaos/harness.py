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
INSIDE = Path(__file__).parent / "inside"
PATIENCE_SECONDS = 300
"""Enough for a machine that is busy with something else."""

GRACE_SECONDS = 20
"""What a search starts may outlive it by so much, on a busy machine; a second is usual."""


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
        lines = self.output.strip().splitlines()
        return lines[-1].strip() if lines else ""

    def line_with(self, words):
        """Return the first line that holds ``words``; empty if none does."""
        return next((line.strip() for line in self.output.splitlines() if words in line), "")


class Launch:
    """One start of a command, in a session of its own, so that none of its processes hides."""

    def __init__(self, line, *, folder, log, environment):
        self._folder = folder
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                line, cwd=ROOT, stdout=file, stderr=file, env=environment, start_new_session=True
            )

    def wait(self):
        """Wait until it has ended, whatever ended it, and return how."""
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        return Ending(code, self._log.read_text())

    def wait_for_fault(self):
        """Wait until the fault has struck."""
        self._wait_until((self._folder / "fired").exists)

    def wait_for(self, event):
        """Wait until a living process of this start has written such an entry into its ledger."""
        self._wait_until(
            lambda: any(e["pid"] in self.members() for e in of(read_ledgers(self._folder), event))
        )

    def go(self):
        """Let the process that waits at a point go on."""
        (self._folder / "go").touch()

    def kill(self):
        """Kill -9 the command itself, as nobody can prepare for."""
        self.process.kill()

    def members(self):
        """Return the living processes of its session by what they are: search, forkserver, worker, other."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                command = (stat.parent / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == self.process.pid and state != "Z":
                found[int(stat.parent.name)] = int(parent), command
        return {
            pid: _kind(pid, parent, command, found, self.process.pid)
            for pid, (parent, command) in found.items()
        }

    def left_behind(self):
        """Return the processes that are still there some time after the command has ended, and end them."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.02)
        members = self.members()
        self.end()
        return sorted(members.values())

    def end(self):
        """Leave no process of it."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _wait_until(self, holds):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert self.process.poll() is None, f"ended too early:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"nothing happened:\n{self._log.read_text()}"
            time.sleep(0.01)


class Search:
    """A study that is searched with the real command, started again after each fault.

    Args:
        study: TOML file.
        folder: For ledgers and logs.
        environment: Of its processes.
        num_trials: Finished trials asked for; may be raised later.
        storage: URL of the database; None leaves it to the command.
        workers: Trials under way at once.
        step_seconds: How long each training step takes longer than it needs, so that faults meet trials.
    """

    def __init__(
        self, study, *, folder, environment, num_trials=4, storage=None, workers=2, step_seconds=0.02
    ):
        self.study = study
        self.num_trials = num_trials
        self.folder = folder
        self.results = study.parent / study.stem
        self.endings = []
        self._launches = []
        self._left_behind = []
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            **environment,
            "CHAOS_FOLDER": str(folder),
            "CHAOS_STEP_SECONDS": str(step_seconds),
            "PYTHONPATH": os.pathsep.join([str(INSIDE), str(ROOT), environment.get("PYTHONPATH", "")]),
        }
        self._storage = storage
        self._workers = workers

    def start(self, *, at=None, do="kill", nth=1, module="search.run", arguments=()):
        """Start the command, once more; if told so, a fault strikes.

        Args:
            at: Point where it strikes, such as ``after ask``.
            do: What it is; see ``ACTIONS`` in inside/sitecustomize.py.
            nth: At which visit to the point.
            module: Which command.
            arguments: Further ones.
        """
        for name in ("fired", "go", "armed"):
            (self.folder / name).unlink(missing_ok=True)
        fault = {"CHAOS_POINT": at, "CHAOS_ACTION": do, "CHAOS_NTH": str(nth)} if at else {}
        if at:
            (self.folder / "armed").touch()
        line = [sys.executable, "-m", module, "--study", str(self.study)]
        if self._storage:
            line += ["--storage", self._storage]
        if module == "search.run":
            line += ["--trials", str(self.num_trials), "--workers", str(self._workers), "--recipes", "none"]
        launch = Launch(
            [*line, *arguments],
            folder=self.folder,
            log=self.folder / f"{len(self._launches)}.log",
            environment=self._environment | fault,
        )
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


def _kind(pid, parent, command, found, search):
    if pid == search:
        return "search"
    if b"forkserver" not in command:
        return "other"
    return "worker" if b"forkserver" in found.get(parent, (0, b""))[1] else "forkserver"
