"""Ctrl-C and SIGTERM: the first ends the search in order, the second at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HELD_BACK = (signal.SIGINT, signal.SIGTERM)

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: the same command continues."""

ECHO_SECONDS = 0.5
"""A signal so soon after the first is the same one: ``timeout`` sends each to the process and to its group."""

_first_signal_at: float | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal, and end the process with code 130 at the second.

    A handler in Python waits for whatever the main thread is at, a product of matrices or a query; so the
    signals are counted by a thread, which the operating system wakes.
    """
    global _first_signal_at
    _first_signal_at = None
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    thread = threading.Thread(target=_count, args=(reader,), daemon=True)
    previous = {number: signal.getsignal(number) for number in HELD_BACK}
    previous_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    has_raised = False

    def interrupt_once(_number: int, _frame: object) -> None:
        nonlocal has_raised
        if not has_raised:
            has_raised = True
            raise KeyboardInterrupt

    try:
        thread.start()
        for number, handler in previous.items():
            if handler != signal.SIG_IGN:  # as a shell leaves it to jobs in the background
                signal.signal(number, interrupt_once)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_wakeup)
        writer.close()  # which ends the thread
        thread.join()
        reader.close()
        _first_signal_at = None


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C, and the stop button of a notebook, raise KeyboardInterrupt inside an event loop, too.

    There, another's handler asks the loop to cancel a task, which the loop hears only once the block has come to its end.
    Elsewhere nothing is done.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(handler) or not _has_loop():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _has_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def interrupted_at() -> float | None:
    """Return when the first signal came, in ``time.monotonic()`` seconds, held back or not; None before it."""
    return _first_signal_at


@contextmanager
def held_back() -> Iterator[None]:
    """Let the signals take effect only after the block.

    A KeyboardInterrupt in the midst of a transaction leaves its connection open, and with it SQLite's lock:
    the next write would wait and fail. Blocks may be nested; in a thread other than the main one, which gets
    no signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = {number: signal.getsignal(number) for number in HELD_BACK}
    for number in HELD_BACK:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if arrived:
            handler = previous[signal.Signals(arrived[0])]
            # Not sent again: it would be counted again.
            if callable(handler):
                handler(arrived[0], None)
            elif handler == signal.SIG_DFL:
                signal.raise_signal(arrived[0])


def _count(reader: socket.socket) -> None:
    """Note the first signal, and end the process at the second."""
    global _first_signal_at
    while arrived := reader.recv(16):
        now = time.monotonic()
        for number in arrived:
            if number not in HELD_BACK:
                continue
            if _first_signal_at is None:
                _first_signal_at = now
            elif now - _first_signal_at > ECHO_SECONDS:
                _end_at_once()


def _end_at_once() -> None:
    """End without a word to anyone: the workers see the end of their parent and follow."""
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        os.write(sys.__stdout__.fileno(), b"\x1b[?25h\n")  # the cursor, hidden as long as lines are redrawn
    os._exit(EXIT_INTERRUPTED)
