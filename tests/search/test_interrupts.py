import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search.interrupts import (
    ECHO_SECONDS,
    EXIT_INTERRUPTED,
    held_back,
    interrupted_at,
    interruptible,
    stoppable,
)

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120


@contextlib.contextmanager
def running(body, *arguments):
    """Run code inside ``interruptible`` in a process of its own; it says ``ready`` first."""
    code = f"""
import signal, sqlite3, sys, threading, time
from search.interrupts import held_back, interruptible
def ready():
    print("ready", flush=True)
with interruptible():
    {body}
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


BUSY = {
    "holding signals back": "\n    with held_back(): ready(); time.sleep(1000)",
    "deaf, waiting for a lock of SQLite": """
    one, two = (sqlite3.connect(sys.argv[1], timeout=1000, isolation_level=None) for _ in range(2))
    one.execute("BEGIN EXCLUSIVE")
    with held_back():
        ready()
        two.execute("BEGIN EXCLUSIVE")
""",
}
CLEAN_UP_FOR_EVER = """
    try:
        ready()
        time.sleep(1000)
    except KeyboardInterrupt:
        ready()
        with held_back():
            time.sleep(1000)
"""


def test_signal_takes_effect_after_the_block():
    reached = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - what is reached before it is the point
        with held_back():
            signal.raise_signal(signal.SIGINT)
            reached.append("end of the block")
        reached.append("after it")
    assert reached == ["end of the block"]


def test_signal_in_a_nested_block_waits_for_the_outer_one():
    reached = []
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with held_back():
            signal.raise_signal(signal.SIGINT)
        reached.append("end of the outer block")
    assert reached == ["end of the outer block"]


def test_signal_replaces_an_error_of_the_block():
    with pytest.raises(KeyboardInterrupt) as caught, held_back():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError
    assert isinstance(caught.value.__context__, ValueError)


def test_several_signals_interrupt_once():
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with held_back():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_runs_the_block_untouched():
    seen = []

    def work():
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_raises_keyboard_interrupt(number):
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)


def test_time_of_the_first_signal_is_known_while_it_is_held_back():
    with pytest.raises(KeyboardInterrupt), interruptible():  # noqa: PT012
        assert interrupted_at() is None
        with held_back():
            signal.raise_signal(signal.SIGINT)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while interrupted_at() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert interrupted_at() is None


def test_echo_of_the_first_signal_is_no_second_one():
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.05)


def test_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            assert interrupted_at() is None
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_and_threads_are_as_before_interruptible():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], threading.active_count()
    with interruptible():
        pass
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], threading.active_count()
    assert after == before


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
@pytest.mark.parametrize("activity", BUSY)
def test_second_signal_ends_the_process_at_once(tmp_path, activity, numbers):
    first, second = numbers
    with running(BUSY[activity], tmp_path / "locked.db") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(first)
        time.sleep(ECHO_SECONDS + 0.2)
        assert process.poll() is None
        process.send_signal(second)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED


def test_second_signal_ends_a_clean_up_at_once():
    with running(CLEAN_UP_FOR_EVER) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "ready\n"
        time.sleep(ECHO_SECONDS + 0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED


@pytest.fixture
def heeded():
    """SIGINT as a shell leaves it to what stands in the foreground."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_in_an_event_loop_a_signal_is_raised_at_once_and_the_loop_has_its_handler_back():
    heard = []

    async def cell():
        before = signal.getsignal(signal.SIGINT)
        with contextlib.suppress(KeyboardInterrupt), stoppable():
            signal.raise_signal(signal.SIGINT)
            heard.append("the end")
        assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(cell())
    assert heard == []


def test_outside_an_event_loop_the_handler_is_left_alone():
    before = signal.getsignal(signal.SIGINT)
    with stoppable():
        assert signal.getsignal(signal.SIGINT) is before


def test_in_a_thread_with_an_event_loop_no_handler_is_set():
    found = []

    async def cell():
        with stoppable():
            found.append("no error")

    thread = threading.Thread(target=lambda: asyncio.run(cell()))
    thread.start()
    thread.join()
    assert found == ["no error"]
