"""How long the driver of a search takes for an ask, a report and a tell, as trials and workers grow.

python tests/benchmarks/driver_scale.py --out driver_scale.json

The driver is the real one: scheduler, sampler, pruner, database, lease. Its workers are pretended: a fit of 60 s costs nothing, since
the clock is simulated. It goes on by the processor time that the driver takes, with PostgreSQL by that of the server, too, and by
--commit-seconds for each transaction. Started again, it goes on with the cells that are missing.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import psutil
from optuna.samplers import RandomSampler
from prefilled import fill
from pretended import PretendedCrew
from rich.console import Console
from rich.table import Table
from sqlalchemy import event

import search.trials.scheduler as scheduler
from search.storage import Lease, database_of
from search.storage.optuna_private import SobolPoint
from search.study import StudySpec, open_study
from search.trials import Live
from search.trials.objective import Attempt
from search.trials.sampler import SearchSampler

LAYERS = 6
EVALUATIONS_PER_EPOCH = 1
WINDOW = 100
"""Trials over which figures are averaged."""

SAMPLERS = SearchSampler, RandomSampler, SobolPoint
DRAWS = "infer_relative_search_space", "sample_relative", "sample_independent"

FIT = {
    "freeze_depth": {"low": 0, "high": 6},
    "dropout": {"low": 0.0, "high": 0.6},
    "head_width": [0, 32, 64, 128],
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "patience": {"low": 1, "high": 3},
    "epochs": 4,
}

FEATURES = SimpleNamespace(
    encoder=SimpleNamespace(num_layers=LAYERS, revision=None, device="cpu"), precision="float32"
)


class Meter:
    """Processor seconds by what they were spent on; what is measured inside a part is taken out of it."""

    def __init__(self):
        self.seconds = dict.fromkeys(("ask", "report", "tell", "sampler", "other"), 0.0)
        self.calls = dict.fromkeys(("asks", "reports", "tells"), 0)
        self.commits = 0
        self._parts = ["other"]
        self._since = time.process_time()

    def part(self, name, function, *, counts=None):
        """Return a function whose time counts for a part, and which is counted itself."""

        @functools.wraps(function)
        def measured(*arguments, **options):
            self._turn()
            self._parts.append(name)
            if counts:
                self.calls[counts] += 1
            try:
                return function(*arguments, **options)
            finally:
                self._turn()
                self._parts.pop()

        return measured

    def snapshot(self):
        self._turn()
        return {**self.seconds, **self.calls, "commits": self.commits}

    def _turn(self):
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


class Enough(Exception):  # noqa: N818
    """A cell has taken all the time that it may take."""


class Cell:
    """One search: so many workers and trials, on one kind of database."""

    def __init__(self, url, folder, options, *, workers, trials, server_process=None):
        self.options, self.workers, self.trials = options, workers, trials
        self.meter = Meter()
        self.server_process = server_process
        table = {"name": "scale", "data": {"source": "imdb"}, "fit": FIT, "recipes": {"enqueue": []}}
        self.spec = StudySpec.model_validate(table | json.loads(options.settings))
        self.study = open_study(self.spec, folder / "scale.toml", storage_url=url, create=True)
        self.live = Live(Console(file=io.StringIO()), total_trials=trials, ceiling=self.spec.score.ceiling)
        if options.prefill:
            fill(self.study, options.prefill, spec=self.spec, features=FEATURES, live=self.live)
        self.database = database_of(self.study)
        event.listen(self.database.engine, "commit", self._commit)
        self.windows = []
        self.num_ended = options.prefill
        self.crew = PretendedCrew(self)

    def _commit(self, _connection):
        self.meter.commits += 1

    def driver_seconds(self):
        """Return what the driver has taken so far: its own processor time, the server's, and the transactions."""
        processor = time.process_time()
        if processor - self.began > self.options.limit_seconds:
            raise Enough
        return processor + self.options.commit_seconds * self.meter.commits + self.server_seconds()

    def server_seconds(self):
        if self.server_process is None:
            return 0.0
        seconds = 0.0
        for process in self.server_process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds += times.user + times.system
        return seconds

    def run(self):
        meter, wall = self.meter, time.monotonic()
        self.began = time.process_time()
        with contextlib.ExitStack() as patched:
            for owner, name, part, counts in (
                (scheduler._Search, "wants_another", "ask", None),
                (scheduler._Search, "begin", "ask", "asks"),
                (scheduler._Search, "watch", "other", None),
                (scheduler._Search, "end", "tell", "tells"),
                (Attempt, "__init__", "ask", None),
                (Attempt, "evaluated", "report", "reports"),
                (Attempt, "fitted", "tell", None),
                *((sampler, name, "sampler", None) for sampler in SAMPLERS for name in DRAWS),
            ):
                before = getattr(owner, name)
                setattr(owner, name, meter.part(part, before, counts=counts))
                patched.callback(setattr, owner, name, before)
            patched.callback(setattr, scheduler, "Crew", scheduler.Crew)
            scheduler.Crew = self.crew
            live = self.live
            inner = live.trial_ended

            def trial_ended(*arguments):
                inner(*arguments)
                self._count_end()

            live.trial_ended = trial_ended
            live.message = lambda _: None
            with contextlib.suppress(Enough), Lease(self.study):
                scheduler.run_trials(
                    self.study,
                    self.spec,
                    FEATURES,
                    live,
                    num_trials=self.trials,
                    started=time.monotonic(),
                    deadline=None,
                    num_workers=self.workers,
                    trial_timeout="auto",
                )
        self._note()
        return {
            "num_ended": self.num_ended,
            "share_in_fits": self.crew.share_in_fits(),
            "simulated_seconds": self.crew.now,
            "processor_seconds": time.process_time() - self.began,
            "wall_seconds": time.monotonic() - wall,
            "windows": self.windows,
        }

    def _count_end(self):
        self.num_ended += 1
        if self.num_ended % WINDOW == 0:
            self._note()

    def _note(self):
        self.windows.append(
            {"trials": self.num_ended, "server": self.server_seconds(), **self.meter.snapshot()}
        )


PER = {
    "ask": "asks",
    "sampler": "asks",
    "report": "reports",
    "tell": "tells",
    "other": "tells",
    "server": "tells",
}


def window(found, place):
    """Return milliseconds for an ask, a report, a tell, between one note and the one before it; commits a trial."""
    last = found["windows"][place]
    first = found["windows"][place - 1] if place else dict.fromkeys(last, 0)
    apart = {k: last[k] - first[k] for k in last}
    means = {k: 1000 * apart[k] / max(1, apart[per]) for k, per in PER.items()}
    return {**means, "commits": apart["commits"] / max(1, apart["tells"])}


def print_table(cells, console):
    table = Table(title="Milliseconds of processor time each, mean of 100 trials")
    parts = ("ask", "report", "tell", "sampler", "other", "server", "commits")
    for name in ("database", "workers", "trials", "at trial", *parts, "in fits"):
        table.add_column(name)
    for name, found in cells.items():
        reached = [w["trials"] for w in found["windows"]]
        for at in sorted({1000, max(reached)} & set(reached)):
            means = window(found, reached.index(at))
            row = (*name.split(), str(at), *(f"{means[p]:.1f}" for p in parts))
            table.add_row(*row, f"{100 * found['share_in_fits']:.1f} %")
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("driver_scale.json"), help="Default: %(default)s.")
    parser.add_argument("--workers", type=int, nargs="*", default=[8, 64, 512], help="Default: 8 64 512.")
    parser.add_argument("--trials", type=int, nargs="*", default=[1000, 10_000], help="Default: 1000 10000.")
    parser.add_argument("--databases", nargs="*", default=["sqlite", "postgresql"], help="Default: both.")
    parser.add_argument(
        "--settings", default="{}", help="Tables of the study's TOML file, as JSON. Default: none."
    )
    parser.add_argument(
        "--commit-seconds", type=float, default=0.0, help="Charged for each transaction. Default: 0."
    )
    parser.add_argument(
        "--limit-seconds",
        type=float,
        default=math.inf,
        help="Processor time after which a cell ends early. Default: none.",
    )
    parser.add_argument(
        "--prefill",
        type=int,
        default=0,
        help="Ended trials that are there before; of --trials the others run. Default: 0.",
    )
    parser.add_argument(
        "--keep", type=Path, help="Folder in which the studies stay. Default: they are removed."
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    cells = json.loads(options.out.read_text())["cells"] if options.out.exists() else {}
    console = Console(width=150)
    with contextlib.ExitStack() as stack:
        server = None
        for database, trials, workers in itertools.product(
            options.databases, options.trials, options.workers
        ):
            name = f"{database} {workers} {trials}"
            if name in cells:
                continue
            if database == "postgresql" and server is None:
                sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
                from postgres import Server

                server = stack.enter_context(Server())
            url = server.url(server.create_database()) if database == "postgresql" else None
            process = psutil.Process(server._process.pid) if database == "postgresql" else None
            with contextlib.ExitStack() as held:
                if options.keep is None:
                    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
                else:
                    folder = options.keep / name.replace(" ", "-")
                    folder.mkdir(parents=True)
                cell = Cell(url, folder, options, workers=workers, trials=trials, server_process=process)
                cells[name] = cell.run()
                cell.database.engine.dispose()
            said = {
                "cells": cells,
                "processor": processor(),
                "options": vars(options) | {"out": str(options.out), "keep": str(options.keep)},
            }
            part = options.out.with_suffix(".part")
            part.write_text(json.dumps(said, indent=1))
            part.replace(options.out)
            found = cells[name]
            console.print(
                f"{name}: {found['num_ended']} trials, {found['processor_seconds']:.0f} s", highlight=False
            )
    print_table(cells, console)


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    main()
