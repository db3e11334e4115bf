"""Local processes that fit. They know nothing of the study, and end with the process that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Self

import psutil

from search.interrupts import HELD_BACK
from search.trials.fitting import fit_and_tell
from search.trials.memory import KillWatch, be_killed_first
from search.trials.news import Death, Ended, Silence

if TYPE_CHECKING:
    from search.trials.news import News, Told
    from trainers.config import TrainConfig
    from trainers.fit import Features


_MAIN = threading.Lock()

LISTEN_SECONDS = 5.0
"""Between two looks at who has been silent for too long, and at what the system has killed."""

END_SECONDS = 10.0
"""A process that has been killed is waited for so long: in the midst of a driver's call it may not end at all."""


@dataclass
class _Member:
    process: BaseProcess
    link: Connection
    device: str | None
    job: int | None = None
    has_spoken: bool = False
    patience: float | None = None
    silence: float = 0.0


def warm_up() -> None:
    """Let a process of its own import what fits need, from now on and while this one does something else."""
    _context()
    with _signals_blocked():
        forkserver.ensure_running()


PRELOADED = (
    "trainers.model",
    "trainers.fit.holdout",
    "search.trials.worker_pool",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
)
"""What every worker needs, and what most of it brings with it: of other families only the last file remains to be read.
A process imports it once, while the search reads texts, and its forks have it; else each worker would."""

MAX_STILLBORN = 3
"""Processes that end before their first news one after the other: this many may have been killed, more have a bug."""


class Crew:
    """Processes with one fit each, at most.

    Not forked from this process, whose threads of torch would not survive it, but from one that has
    imported ``PRELOADED`` and no more. Each gets a copy of encoder and tokens; the stored
    features are mapped, hence in memory once.

    Args:
        features: What fits read.
        size: Number of processes.
        peeks: As for ``fit``.
        devices: CUDA devices that the processes share evenly, named as ``CUDA_VISIBLE_DEVICES`` does: each process sees
            one. None means all that there are if the encoder is on ``cuda``, without a number.
    """

    def __init__(
        self,
        features: Features,
        *,
        size: int,
        peeks: Sequence[float],
        devices: Sequence[str] | None = None,
    ) -> None:
        self._payload = pickle.dumps((features, tuple(peeks)))
        self._size = size
        self._devices = _devices_of(features) if devices is None else tuple(devices)
        self._members: list[_Member] = []
        self._num_stillborn = 0
        self._kills = KillWatch()

    def __enter__(self) -> Self:
        """Start the processes."""
        try:
            for i in range(self._size):
                device = self._devices[i % len(self._devices)] if self._devices else None
                self._members.append(self._start(device))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they do."""
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.process.join(END_SECONDS)
            member.link.close()

    @property
    def has_room(self) -> bool:
        """Whether a process is free."""
        return any(m.job is None for m in self._members)

    def begin(
        self, job: int, config: TrainConfig, *, test: bool = False, to_beat: float | None = None
    ) -> None:
        """Give a free process a fit.

        Args:
            job: What its news are marked with.
            config: What to fit.
            test: As for ``figures_of``.
            to_beat: As for ``fit``.
        """
        member = next(m for m in self._members if m.job is None)
        member.job, member.patience, member.silence = job, None, 0.0
        _send(member.link, (config, test, to_beat))

    def end_if_silent(self, job: int, *, seconds: float | None) -> None:
        """End a fit once it has said nothing for so long; None lets it be silent for ever."""
        next(m for m in self._members if m.job == job).patience = seconds

    def place(self, job: int) -> None:
        """Return None: a fit runs on this machine."""

    def node_seconds(self) -> dict[str, dict[str, float]]:
        """Return nothing: there is no other node."""
        return {}

    def processor_seconds(self, job: int) -> float:
        """Return what the process of a fit has computed so far; other programs' time is not in it."""
        process = next(m.process for m in self._members if m.job == job)
        times = psutil.Process(process.pid).cpu_times()
        return float(times.user + times.system)

    def news(self) -> Iterator[tuple[int, News]]:
        """Wait for news of fits, by job. An evaluation, and the end of a fold, must be answered."""
        for member in self._heard():
            job = member.job
            assert job is not None  # noqa: S101
            said: News
            if member.link.poll():
                said = self._receive(member)
            else:
                said = Silence(member.silence)
                self._end(member)
                self._members[self._members.index(member)] = self._start(member.device)
            if isinstance(said, Ended):
                member.job = None
            yield job, said

    def _heard(self) -> list[_Member]:
        """Wait until processes speak, end, or have been silent for too long, and return them."""
        busy = [m for m in self._members if m.job is not None]
        while True:
            self._kills.look()
            patience = [m.patience - m.silence for m in busy if m.patience is not None]
            seconds = max(0.0, min([LISTEN_SECONDS, *patience]))
            began = time.monotonic()
            speaking = wait([m.link for m in busy], timeout=seconds)
            # A machine that stood still meanwhile has heard nothing, and its workers could not speak.
            heard = min(time.monotonic() - began, seconds)
            for member in busy:
                member.silence = 0.0 if member.link in speaking else member.silence + heard
            found = [
                m for m in busy if m.link in speaking or (m.patience is not None and m.silence >= m.patience)
            ]
            if found:
                return found

    def _receive(self, member: _Member) -> News:
        try:
            said: News = member.link.recv()
        except (EOFError, OSError):  # between messages, or inside one
            return self._bury(member)
        member.has_spoken = True
        self._num_stillborn = 0
        return said

    def answer(self, job: int, *, go_on: bool) -> None:
        """Tell a process that reported an evaluation whether the fit goes on; if not, it is free again."""
        member = next(m for m in self._members if m.job == job)
        _send(member.link, go_on)
        if not go_on:
            member.job = None

    def _start(self, device: str | None) -> _Member:
        context = _context()
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, device), daemon=True)
        with _signals_blocked(), _without_main():
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        with _unheard():
            ours.send_bytes(self._payload)
        return _Member(process, ours, device)

    def _bury(self, member: _Member) -> Death:
        """Put a new process in the place of one that ended, unless memory is too short for so many."""
        member.process.join()
        member.link.close()
        exit_code = member.process.exitcode
        why = self._kills.why(exit_code)
        if why and len(self._members) > 1:
            self._members.remove(member)
            return Death(exit_code, why, num_left=len(self._members))
        self._num_stillborn += not member.has_spoken
        if self._num_stillborn > MAX_STILLBORN:
            raise RuntimeError(
                f"{self._num_stillborn} worker processes ended before their first news, exit code {exit_code}"
                f"{why and f', {why}'}"
            )
        self._members[self._members.index(member)] = self._start(member.device)
        return Death(exit_code, why)

    def _end(self, member: _Member) -> None:
        member.process.kill()
        member.process.join(END_SECONDS)
        member.link.close()


def _devices_of(features: Features) -> tuple[str, ...]:
    from trainers.fit import cuda_devices

    return cuda_devices() if features.encoder.device == "cuda" else ()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What starts in the block inherits it: what a signal to all of them means is the parent's to decide."""
    resource_tracker.ensure_running()  # else it starts in the block, and lets these signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """What starts in the block does not run the user's script again, which then needs no guard.

    A new process runs the file of ``__main__`` once more, to unpickle what is defined there: nothing of ours is. It leaves
    that out if the module's name ends in ``__main__``, as a package's does.
    """
    main = sys.modules["__main__"]
    with _MAIN:
        before = main.__spec__
        main.__spec__ = ModuleSpec("__main__", None)
        try:
            yield
        finally:
            main.__spec__ = before


def _send(link: Connection, thing: object) -> None:
    """Send; that nobody is there to hear it shows when news are awaited."""
    with _unheard():
        link.send(thing)


def _unheard() -> contextlib.AbstractContextManager[None]:
    return contextlib.suppress(BrokenPipeError, ConnectionResetError)


def _serve(link: Connection, device: str | None) -> None:
    """Fit what is asked for, until the process is killed."""
    if device is not None:  # before CUDA starts, which is when features arrive
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    threading.Thread(target=_end_with_parent, daemon=True).start()
    be_killed_first()
    # From the parent, through its own pipe.
    features, peeks = link.recv()

    def ask(told: Told) -> bool:
        link.send(told)
        goes_on: bool = link.recv()
        return goes_on

    while True:
        config, test, to_beat = link.recv()
        ended = fit_and_tell(config, features, ask=ask, peeks=peeks, test=test, to_beat=to_beat)
        if ended is not None:
            link.send(ended)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101
    parent.join()
    os._exit(1)
