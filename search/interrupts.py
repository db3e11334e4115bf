"""Ctrl-C and SIGTERM, held back while the database is in use."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let the signals take effect only after the block.

    A KeyboardInterrupt in the midst of a transaction leaves its connection open, and with it SQLite's lock:
    the next write would wait for a minute and fail. Blocks may be nested; in a thread other than the main
    one, which gets no signals, nothing is done.
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
            signal.raise_signal(arrived[0])
