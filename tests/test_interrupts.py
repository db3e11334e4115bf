import signal
import threading

import pytest

from search.interrupts import held_back


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
