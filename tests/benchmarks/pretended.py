"""Workers on a simulated clock, whose fits of a minute cost nothing."""

import heapq
import itertools
import math

import numpy as np

from search.study import trial_seed
from search.trials import Fitted
from trainers.fit import Evaluation
from trainers.fit.hits import packed

FIT_SECONDS = 60.0
UNEVEN = 0.2
"""Fits take this share more or less, so that they do not end all at once."""

PEEK_TEXTS = 300


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

    def place(self, job):
        """Return where a fit runs: as of workers of this machine, nowhere in particular."""

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
