"""How long the driver of a search takes for an ask, a report and a tell, as trials and workers grow.

python tests/benchmarks/driver_scale.py --out driver_scale.json

The driver is the real one: scheduler, sampler, pruner, database, lease. Its workers are pretended: a fit of 60 s costs nothing, since
the clock is simulated. It goes on by the processor time that the driver takes, with PostgreSQL by that of the server, too, and by
--commit-seconds for each transaction. Started again, it goes on with the cells that are missing.
"""

import argparse
import contextlib
import functools
import heapq
import io
import itertools
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import event

import search.trials.scheduler as scheduler
from search.storage import Lease, database_of
from search.study import StudySpec, open_study, trial_seed
from search.trials import Fitted, Live
from search.trials.objective import Attempt
from search.trials.sampler import SearchSampler
from trainers.fit import Evaluation
from trainers.fit.hits import packed

FIT_SECONDS = 60.0
UNEVEN = 0.2
"""Fits take this share more or less, so that they do not end all at once."""

LAYERS = 6
EVALUATIONS_PER_EPOCH = 1
WINDOW = 100
"""Trials over which figures are averaged."""

PEEK_TEXTS = 300

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


class PretendedCrew:
    """Workers on a simulated clock, behind the interface of ``search.trials.Crew``."""

    def __init__(self, cell):
        self.cell = cell
        self.now = 0.0
        self.fitted = []
        self.last_begun = 0.0
        self._jobs = {}
        self._events = []
        self._order = itertools.count()
        self._spent = 0.0

    def __call__(self, _features, *, size, peeks, **_options):
        self.size, self.peeks = size, peeks
        return self

    def __enter__(self):
        self._spent = self.cell.driver_seconds()
        return self

    def __exit__(self, *_):
        pass

    @property
    def has_room(self):
        return len(self._jobs) < self.size

    def begin(self, job, config, *, to_beat=None, **_options):  # noqa: ARG002
        self._pass_time()
        self.last_begun = self.now
        self._jobs[job] = fit(config, self.peeks, np.random.default_rng(trial_seed(1, job)))
        self._go_on(job)

    def end_if_silent(self, job, *, seconds):
        pass

    def news(self):
        self._pass_time()
        if self._events[0][0] > self.now:
            self.now = self._events[0][0]
        heard = []
        while self._events and self._events[0][0] <= self.now:
            heard.append(heapq.heappop(self._events))
        for _, _, job, said in heard:
            if isinstance(said, Fitted):
                del self._jobs[job]
            yield job, said

    def answer(self, job, *, go_on):
        self._pass_time()
        if go_on:
            self._go_on(job)
        else:
            del self._jobs[job]

    def _go_on(self, job):
        seconds, said = next(self._jobs[job])
        self.fitted.append((self.now, self.now + seconds))
        heapq.heappush(self._events, (self.now + seconds, next(self._order), job, said))

    def _pass_time(self):
        spent = self.cell.driver_seconds()
        self.now += spent - self._spent
        self._spent = spent

    def share_in_fits(self):
        """Return the share of the workers' time that fits took, up to the beginning of the last one."""
        end = self.last_begun
        return sum(max(0.0, min(e, end) - b) for b, e in self.fitted) / (self.size * max(end, 1e-9))


def fit(config, peeks, generator):
    """Yield the seconds of a fit up to each of its news, and the news."""
    full = {
        i / config.evaluations_per_epoch for i in range(1, config.epochs * config.evaluations_per_epoch + 1)
    }
    ages = sorted(full | {p for p in peeks if p < config.epochs})
    length = FIT_SECONDS * (1 + UNEVEN * generator.uniform(-1, 1))
    good = (
        0.75
        + 0.1 * math.exp(-((math.log10(config.learning_rate) + 4) ** 2))
        - 0.02 * abs(config.freeze_depth - 3)
    )
    before = 0.0
    for age in ages:
        right = generator.random(PEEK_TEXTS) < good - 0.2 * math.exp(-2 * age)
        spent = length * age / config.epochs
        peek = age not in full
        figures = {
            "validation_loss": 1 - float(right.mean()),
            "validation_accuracy": float(right.mean()),
            "training_accuracy": None
            if peek
            else min(1.0, float(right.mean()) + 0.02 * age + config.learning_rate * 100),
        }
        cost = {
            "seconds": spent,
            "training_seconds": spent,
            "evaluation_seconds": 0.0,
            "batching_seconds": 0.0,
        }
        cost |= {"tokens": 1000, "flops": 1e9}
        is_last = age >= config.epochs
        yield (
            spent - before,
            Evaluation(
                epoch=age, peek=peek, last=is_last, exact=False, hits=packed(right), **figures, **cost
            ),
        )
        before = spent
    ended = {"training_exact": True, "best_epoch": age, "epochs": age, "stopped": "epochs", "stages": []}
    yield 0.0, Fitted({**figures, **cost, **ended, "memory_bytes": 2**30})


class Cell:
    """One search: so many workers and trials, on one kind of database."""

    def __init__(self, url, folder, options, *, workers, trials, server_process=None):
        self.options, self.workers, self.trials = options, workers, trials
        self.meter = Meter()
        self.server_process = server_process
        table = {"name": "scale", "data": {"source": "imdb"}, "fit": FIT, "recipes": {"enqueue": []}}
        self.spec = StudySpec.model_validate(table | json.loads(options.settings))
        self.study = open_study(self.spec, folder / "scale.toml", storage_url=url, create=True)
        self.database = database_of(self.study)
        event.listen(self.database.engine, "commit", self._commit)
        self.windows = []
        self.num_ended = 0
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
                (SearchSampler, "infer_relative_search_space", "sampler", None),
                (SearchSampler, "sample_relative", "sampler", None),
                (SearchSampler, "sample_independent", "sampler", None),
            ):
                before = getattr(owner, name)
                setattr(owner, name, meter.part(part, before, counts=counts))
                patched.callback(setattr, owner, name, before)
            patched.callback(setattr, scheduler, "Crew", scheduler.Crew)
            scheduler.Crew = self.crew
            live = Live(
                Console(file=io.StringIO()), total_trials=self.trials, ceiling=self.spec.score.ceiling
            )
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
            with tempfile.TemporaryDirectory() as folder:
                cell = Cell(
                    url, Path(folder), options, workers=workers, trials=trials, server_process=process
                )
                cells[name] = cell.run()
                cell.database.engine.dispose()
            said = {
                "cells": cells,
                "processor": processor(),
                "options": vars(options) | {"out": str(options.out)},
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
