"""Parts of Ray that are private, for there are no public ones; the extra pins Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def running_address() -> str:
    """Return the address of the cluster that runs on this machine.

    Raises:
        ConnectionError: None runs, or several do and none is the latest.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return canonicalize_bootstrap_address_or_die("auto")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Ray has to say of its nodes off the terminal, which it says whatever ``log_to_driver`` is; its logs have it."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before
