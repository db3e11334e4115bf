"""The process of a tracker that writes down what it is told, and does what its place says: a search's trackers, without any."""

import json
import os
import sys
import time
from pathlib import Path

from search.trials.tracking import process


class Pretended:
    """Writes a line for each call into the folder of the results."""

    def __init__(self, experiment, place):
        self._path = Path(experiment.folder, "calls.jsonl")
        self._place = place

    def _call(self, *what):
        with self._path.open("a") as file:
            file.write(json.dumps(what) + "\n")
        if self._place == "hangs":
            time.sleep(600)
        if self._place == "computes":
            began = time.process_time()
            while time.process_time() - began < 0.1:
                pass
        if self._place == "dies":
            os._exit(3)
        if self._place == "exits":
            sys.exit("no account")
        if self._place == "raises":
            raise ValueError("no room\nleft")
        if self._place == "raises once" and len(self._path.read_text().splitlines()) == 1:
            raise ValueError("busy")

    def began(self, run):
        os.write(1, b"a library says something\n")
        self._call("began", run.number)
        return None if self._place == "has ended" else 0

    def evaluated(self, run, looks):
        self._call("evaluated", run.number, [look.epoch for look in looks])

    def ended(self, run):
        self._call("ended", run.number, run.state)

    def exported(self, run, model):
        self._call("exported", run.number, model.folder)


def open_tracker(target, experiment):
    if target.place == "is away":
        raise ConnectionError("refused")
    return Pretended(experiment, target.place), "look there"


if __name__ == "__main__":
    process.open_tracker = open_tracker
    sys.exit(process.main())
