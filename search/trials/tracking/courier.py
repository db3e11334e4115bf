"""Carries runs to one tracker, in a process that may fail, hang or die without any harm to the search."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psutil

from search.trials.tracking.runs import Experiment, Run
from search.trials.tracking.targets import Target
from trainers.errors import printable

PATIENCE_SECONDS = 30.0
"""At its end a search waits for a tracker as long as that takes a run at least so often; the first includes its imports."""

BUSY_SHARE = 0.02
"""Of the time that is waited: a process that computes more is not waiting for a server, but is slow, as on a busy machine."""

MOST_WAITS = 10
"""One that computes without an end is given up, too."""

QUIET_SECONDS = 3.0
"""After which the user hears that the end is waited for."""

LONGEST_MESSAGE = 300


class Words(NamedTuple):
    """What the user is told.

    Attributes:
        things: What is carried.
        meanwhile: What happens though the tracker fails.
        none: Of them.
        left: How many of all are missing at the end.
        is_counted: Whether that is told, too, after a failure, which has been told.
    """

    things: str
    meanwhile: str
    none: str
    left: str
    is_counted: bool = True


TRIALS = Words(
    things="the trials",
    meanwhile="the search goes on",
    none="none",
    left="{left} of {all} trials are not there as they are; the same command sends them",
)


class Courier:
    """The process of one tracker, and the thread that talks with it: of each trial, what is newest is told next.

    Args:
        target: The tracker.
        experiment: Whose runs.
        tell: Gets what the user should know, from a thread of its own.
        words: What that is.
        module: What the process runs.
    """

    def __init__(
        self,
        target: Target,
        experiment: Experiment,
        tell: Callable[[str], None],
        *,
        words: Words = TRIALS,
        module: str = "search.trials.tracking.process",
    ) -> None:
        self._target = target
        self._tell = tell
        self._words = words
        self._changed = threading.Condition()
        self._waiting: dict[int, Run] = {}
        self._missing: set[int] = set()
        self._known: set[int] = set()
        self._num_carried = 0
        self._has_failed = self._is_closing = False
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # Ctrl-C is for the search, which ends this process in order
        )
        start = {"target": list(target), "experiment": experiment.model_dump()}
        self._thread = threading.Thread(target=self._carry, args=(start,), daemon=True)
        self._thread.start()

    def take(self, run: Run) -> None:
        """Keep a run to be carried; what is waiting of the same trial is out of date."""
        with self._changed:
            self._waiting[run.number] = run
            self._known.add(run.number)
            self._changed.notify()

    def close(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Wait as long as the tracker takes a run now and then, or computes, until it has all, and end its process."""
        try:
            with self._changed:
                self._is_closing = True
                self._changed.notify()
            self._thread.join(min(patience, QUIET_SECONDS))
            if self._thread.is_alive():
                self._tell(f"waiting for {self._target} to take {self._words.things}")
            waited = self._wait(patience)
            left, is_hanging = len(self._waiting.keys() | self._missing), self._thread.is_alive()
            if left and (is_hanging or self._words.is_counted):
                why = f"has taken {self._words.none} for {waited:.0f} s" if is_hanging else "failed"
                missing = self._words.left.format(left=left, all=len(self._known))
                self._tell(f"{self._target} {why}: {missing}")
        finally:
            self.kill()

    def _wait(self, patience: float) -> float:
        """Wait while runs are taken, or the process computes, and return for how long none was taken in the end."""
        idle = 0
        while self._thread.is_alive() and idle < MOST_WAITS:
            carried, computed = self._num_carried, self._processor_seconds()
            self._thread.join(patience)
            idle = idle + 1 if carried == self._num_carried else 0
            if idle and self._processor_seconds() - computed < BUSY_SHARE * patience:
                break
        return idle * patience

    def _processor_seconds(self) -> float:
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:  # it has ended
            return 0.0
        return float(times.user + times.system)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._has_failed = True  # which is nothing to be told of now
        self._process.kill()
        self._process.wait()
        with self._changed:
            self._waiting.clear()
            self._is_closing = True
            self._changed.notify()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101
            with contextlib.suppress(OSError):  # what could not be written any more
                pipe.close()

    def _carry(self, start: Mapping[str, Any]) -> None:
        """Tell the process run by run, until all are there and no more will come, or it is dead."""
        try:
            self._ask(start)
            while (run := self._next()) is not None:
                self._carried(run, self._ask({"run": run.model_dump()}))
            self._ask({"close": True})
        except (OSError, ValueError, EOFError):
            self._failed("its process ended")

    def _next(self) -> Run | None:
        with self._changed:
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            if not self._waiting:
                return None
            run = self._waiting.pop(next(iter(self._waiting)))
            self._missing.add(run.number)  # until it is known to be there
            return run

    def _carried(self, run: Run, answer: Mapping[str, str]) -> None:
        if "error" in answer:
            self._failed(answer["error"])
        else:
            self._missing.discard(run.number)
        self._num_carried += 1

    def _ask(self, message: Mapping[str, Any]) -> Mapping[str, str]:
        write, read = self._process.stdin, self._process.stdout
        assert write is not None  # noqa: S101
        assert read is not None  # noqa: S101
        write.write(json.dumps(message) + "\n")
        write.flush()
        line = read.readline()
        if not line:
            raise EOFError
        answer: Mapping[str, str] = json.loads(line)
        if "note" in answer:
            self._tell(f"{self._target.name}: {answer['note']}")
        return answer

    def _failed(self, why: str) -> None:
        """Tell the first failure; the others would say the same again."""
        if not self._has_failed:
            self._has_failed = True
            short = shortened(printable(why))
            self._tell(f"{self._target} does not take {self._words.things}, {self._words.meanwhile}: {short}")


def shortened(why: str) -> str:
    """Cut the middle out of a long message: what went wrong stands first, and what caused it last."""
    if len(why) <= LONGEST_MESSAGE:
        return why
    half = (LONGEST_MESSAGE - len(" ... ")) // 2
    return f"{why[:half]} ... {why[-half:]}"
