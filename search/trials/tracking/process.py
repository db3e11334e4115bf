"""The process of a tracker: python -m search.trials.tracking.process, which a search starts and talks with in lines of JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO, cast

from search.trials.tracking.runs import Experiment, Run
from search.trials.tracking.targets import Target

if TYPE_CHECKING:
    from search.trials.tracking.runs import ModelTracker, Tracker

QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "WANDB_SILENT": "true",
}
"""Environment of trackers, unless the user sets another: a server that hangs is given up soon, and no maker is told of use."""


class Desk:
    """Takes each trial as it has become, and tells the tracker what is new of it.

    Args:
        tracker: That is told.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._num_looks: dict[int, int] = {}
        self._ended: set[int] = set()

    def take(self, run: Run) -> None:
        """Open the run, add the looks that are missing, and close it if the trial has ended; then add its model."""
        if run.number not in self._ended:
            self._take(run)
        if run.model is not None:
            cast("ModelTracker", self._tracker).exported(run, run.model)

    def _take(self, run: Run) -> None:
        if run.number not in self._num_looks:
            there = self._tracker.began(run)
            if there is None:
                self._ended.add(run.number)
                return
            self._num_looks[run.number] = there
        new = run.looks[self._num_looks[run.number] :]
        if new:
            self._tracker.evaluated(run, new)
            self._num_looks[run.number] = len(run.looks)
        if run.state != "running":
            self._tracker.ended(run)
            self._ended.add(run.number)


def open_tracker(target: Target, experiment: Experiment) -> tuple[Tracker, str]:
    """Return a tracker, and how its user sees the runs."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    module = importlib.import_module(f"search.trials.tracking.{target.name}_tracker")
    opened: tuple[Tracker, str] = module.open_tracker(experiment, target.place)
    return opened


def main() -> int:
    """Answer each line that comes with one; end with the search, however that ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # for what libraries print
    lines = _lines(sys.stdin)
    start = json.loads(next(lines))
    _answer(answers)
    target, experiment = Target(*start["target"]), Experiment.model_validate(start["experiment"])
    desk = None
    for line in lines:
        message, note = json.loads(line), {}
        if "close" in message:
            _answer(answers)
            break
        try:
            if desk is None:
                tracker, how = open_tracker(target, experiment)
                desk, note = Desk(tracker), {"note": how}
            desk.take(Run.model_validate(message["run"]))
            _answer(answers, **note)
        except BaseException as error:  # some libraries end the process
            _answer(answers, **note, error=f"{type(error).__name__}: {error}")
    return 0


def _answer(answers: TextIO, **said: str) -> None:
    answers.write(json.dumps(said) + "\n")
    answers.flush()


def _lines(source: TextIO) -> Iterator[str]:
    """Yield what comes; where it ends before a close, the search is dead, and this process ends in the midst of anything.

    The search may be continued at once, by one that looks at what is there.
    """
    queue: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in source:
            queue.put(line)
            if line.startswith('{"close"'):
                return
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield queue.get()


if __name__ == "__main__":
    sys.exit(main())
