"""How much memory there is for this process and its workers, and whether the system killed one for lack of it."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

LOOK_SECONDS = 5.0
"""A count of kills that rose longer ago, twice this time at most, does not explain the end of a process now."""

MUCH_PRESSURE = 10.0
"""Per cent of the last ten seconds in which processes waited for memory. systemd-oomd acts above 50, and earlyoom by
what is free: neither is counted by the kernel."""

KILLED_FIRST = 500
"""Of 1000: as if a process took half of the memory more than it does. Anybody may raise that of their own processes."""

FOR_MEMORY = "for lack of memory"
SEEMS_FOR_MEMORY = f"{FOR_MEMORY}, it seems"


def available_bytes() -> int:
    """Return what can be taken before the system must kill: of the machine, and of every cgroup that holds this process."""
    rooms = [int(psutil.virtual_memory().available)]
    for folder in _cgroups():
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")  # version 2, version 1
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            rooms.append(limit - used + _file_bytes(folder))
    return max(0, min(rooms))


def peak_bytes() -> int:
    """Return the most memory that this process has taken so far, without what it shares with others."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    now = psutil.Process().memory_full_info()
    return int(peak - (now.rss - now.uss))


def be_killed_first() -> None:
    """Let Linux, should memory run out, end this process rather than the search that started it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(KILLED_FIRST))


class KillWatch:
    """Tells of a process that ended by signal 9 whether the system did it for lack of memory.

    The kernel counts whom it kills so, for each cgroup and for the machine; the machine's count is also that of
    other containers, hence "it seems". Who has no count, and no pressure either, is not said to have died of it.
    """

    def __init__(self) -> None:
        self._older = self._newer = _kills()
        self._looked = time.monotonic()

    def look(self) -> None:
        """Take note of the counts; to be called every few seconds."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._older, self._newer = self._newer, _kills()
            self._looked = time.monotonic()

    def why(self, exit_code: int | None) -> str:
        """Return in words why a process ended that has just been found dead; empty if that cannot be known."""
        if exit_code != -signal.SIGKILL:
            return ""
        now = _kills()
        risen = [key for key in now if now[key] > self._older.get(key, now[key])]
        for key in risen:  # each kill explains one death
            self._older = {**self._older, key: self._older[key] + 1}
            self._newer = {**self._newer, key: max(self._newer.get(key, 0), self._older[key])}
        if "cgroup" in risen:
            return FOR_MEMORY
        return SEEMS_FOR_MEMORY if risen or _pressure() >= MUCH_PRESSURE else ""


def _cgroups() -> Iterator[Path]:
    """Yield the folders of the cgroups, of either version, that limit this process's memory: its own, then those above."""
    text = _read(PROC / "self/cgroup") or ""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CGROUPS / "memory" if controllers else CGROUPS
        # A container sees its own cgroup as the root, but may be told the path that it has outside.
        parts = [] if ".." in path else path.strip("/").split("/")
        for count in range(len(parts), -1, -1):
            folder = root.joinpath(*parts[:count])
            if folder.is_dir():
                yield folder


def _kills() -> dict[str, int]:
    """Return how many processes the kernel has killed for memory: in this process's cgroup, and on the machine."""
    own = next(_cgroups(), None)
    counts = {"machine": _entry(PROC / "vmstat", "oom_kill")}
    if own is not None:
        events = _entry(own / "memory.events", "oom_kill")
        counts["cgroup"] = _entry(own / "memory.oom_control", "oom_kill") if events is None else events
    return {key: count for key, count in counts.items() if count is not None}


def _pressure() -> float:
    """Return the highest share of time, per cent, in which processes of the cgroup or the machine waited for memory."""
    files = [PROC / "pressure/memory", *(folder / "memory.pressure" for folder in _cgroups())]
    shares = [re.search(r"^some avg10=([\d.]+)", _read(file) or "", re.MULTILINE) for file in files]
    return max((float(share[1]) for share in shares if share), default=0.0)


def _file_bytes(folder: Path) -> int:
    """Return what files take of a cgroup's memory, which the kernel gives back before it kills."""
    prefix = "total_" if _entry(folder / "memory.stat", "total_inactive_file") is not None else ""
    kinds = ("inactive_file", "active_file")
    return sum(_entry(folder / "memory.stat", prefix + kind) or 0 for kind in kinds)


def _number(folder: Path, *names: str) -> int | None:
    """Return the number in the first of the files that is there; None if it holds none, as for "max"."""
    text = next((t for name in names if (t := _read(folder / name)) is not None), "")
    return int(text) if text.strip().isdigit() else None


def _entry(path: Path, key: str) -> int | None:
    found = re.search(rf"^{key} (\d+)$", _read(path) or "", re.MULTILINE)
    return int(found[1]) if found else None


def _read(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text()
    return None
