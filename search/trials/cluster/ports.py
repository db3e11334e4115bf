"""Whether somebody listens at a port of a machine."""

from __future__ import annotations

import socket


def answers(host: str, port: int, *, seconds: float) -> bool:
    """Tell whether somebody listens at a port."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True
