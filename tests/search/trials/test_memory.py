import signal
from types import SimpleNamespace

import psutil
import pytest

import search.trials.memory
from search.trials.memory import LOOK_SECONDS, KillWatch, available_bytes, peak_bytes

GIB = 2**30
UNLIMITED = 9223372036854771712
KILLED = -signal.SIGKILL


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function: write files of a pretended machine, which has 100 GiB available."""
    monkeypatch.setattr(search.trials.memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(search.trials.memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * GIB))

    def write(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.replace("DOT", ".").split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))

    return write


def limit(machine, folder, *, most, used, files=0, version=2):
    names = {2: ("max", "current"), 1: ("limit_in_bytes", "usage_in_bytes")}[version]
    total = "" if version == 2 else "total_"
    machine(
        **{
            f"{folder}__memory.{names[0]}": most,
            f"{folder}__memory.{names[1]}": used,
            f"{folder}__memory.stat": f"anon 7\n{total}inactive_file {files}\n{total}active_file {files}\n",
        }
    )


def test_without_cgroups_the_machine_is_the_limit(machine):
    machine()
    assert available_bytes() == 100 * GIB


def test_a_cgroup_of_version_2_limits(machine):
    machine(proc__self__cgroup="0::/user.slice/search.scope\n")
    limit(machine, "cgroup__user.slice__search.scope", most=4 * GIB, used=GIB)
    assert available_bytes() == 3 * GIB


def test_the_cgroups_above_limit_too(machine):
    machine(proc__self__cgroup="0::/pods/one\n")
    limit(machine, "cgroup__pods__one", most="max", used=GIB)
    limit(machine, "cgroup__pods", most=8 * GIB, used=6 * GIB)
    assert available_bytes() == 2 * GIB


def test_a_container_finds_its_cgroup_at_the_root_whatever_path_it_is_told(machine):
    for path in ("/", "/docker/5eed", "/../../outside"):
        machine(proc__self__cgroup=f"0::{path}\n")
        limit(machine, "cgroup", most=2 * GIB, used=GIB)
        assert available_bytes() == GIB


def test_a_cgroup_of_version_1_limits(machine):
    machine(proc__self__cgroup="5:cpu,memory:/docker/5eed\n4:cpuset:/elsewhere\n")
    limit(machine, "cgroup__memory", most=4 * GIB, used=GIB, version=1)
    assert available_bytes() == 3 * GIB
    limit(machine, "cgroup__memory__docker__5eed", most=2 * GIB, used=GIB, version=1)
    assert available_bytes() == GIB


@pytest.mark.parametrize(("version", "most"), [(1, UNLIMITED), (2, "max")])
def test_a_cgroup_without_a_limit_leaves_the_machine(machine, version, most):
    machine(proc__self__cgroup="5:memory:/\n" if version == 1 else "0::/\n")
    limit(machine, "cgroup__memory" if version == 1 else "cgroup", most=most, used=GIB, version=version)
    assert available_bytes() == 100 * GIB


@pytest.mark.parametrize("version", [1, 2])
def test_what_files_take_is_given_back(machine, version):
    machine(proc__self__cgroup="5:memory:/\n" if version == 1 else "0::/\n")
    folder = "cgroup__memory" if version == 1 else "cgroup"
    limit(machine, folder, most=4 * GIB, used=4 * GIB, files=GIB, version=version)
    assert available_bytes() == 2 * GIB


def test_a_cgroup_over_its_limit_has_nothing(machine):
    machine(proc__self__cgroup="0::/\n")
    limit(machine, "cgroup", most=GIB, used=2 * GIB)
    assert available_bytes() == 0


def test_the_peak_stays_when_memory_is_given_back():
    before = peak_bytes()
    ballast = bytearray(b"x" * 2**28)
    del ballast
    assert peak_bytes() > before + 2**27


def test_a_kill_that_the_cgroup_counted_was_for_memory(machine):
    machine(proc__self__cgroup="0::/\n", **{"cgroup__memory.events": "oom 3\noom_kill 2\noom_group_kill 0\n"})
    watch = KillWatch()
    assert watch.why(KILLED) == ""
    machine(**{"cgroup__memory.events": "oom 4\noom_kill 3\noom_group_kill 0\n"})
    assert watch.why(KILLED) == "for lack of memory"


def test_version_1_counts_in_another_file(machine):
    machine(
        proc__self__cgroup="5:memory:/\n",
        **{"cgroup__memory__memory.oom_control": "under_oom 0\noom_kill 0\n"},
    )
    watch = KillWatch()
    machine(**{"cgroup__memory__memory.oom_control": "under_oom 0\noom_kill 1\n"})
    assert watch.why(KILLED) == "for lack of memory"


def test_a_kill_that_the_machine_counted_seems_to_be_ours(machine):
    machine(proc__vmstat="nr_free_pages 1\noom_kill 5\n")
    watch = KillWatch()
    machine(proc__vmstat="nr_free_pages 1\noom_kill 6\n")
    assert watch.why(KILLED) == "for lack of memory, it seems"


def test_under_pressure_a_kill_seems_to_be_for_memory(machine):
    """As by systemd-oomd or earlyoom, which the kernel does not count."""
    machine(
        proc__vmstat="oom_kill 5\n", proc__pressure__memory="some avg10=61.20 avg60=1.00\nfull avg10=0.00\n"
    )
    assert KillWatch().why(KILLED) == "for lack of memory, it seems"
    machine(proc__pressure__memory="some avg10=2.00 avg60=99.00\nfull avg10=0.00\n")
    assert KillWatch().why(KILLED) == ""


def test_each_kill_explains_one_death(machine):
    machine(proc__vmstat="oom_kill 0\n")
    watch = KillWatch()
    machine(proc__vmstat="oom_kill 2\n")
    assert [bool(watch.why(KILLED)) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("exit_code", [0, 1, -signal.SIGSEGV, -signal.SIGTERM, None])
def test_only_signal_9_is_for_memory(machine, exit_code):
    machine(proc__vmstat="oom_kill 0\n")
    watch = KillWatch()
    machine(proc__vmstat="oom_kill 1\n")
    assert watch.why(exit_code) == ""


@pytest.mark.parametrize(("looks", "explains"), [(0, True), (1, True), (2, False)])
def test_a_kill_of_some_time_ago_explains_nothing(machine, monkeypatch, looks, explains):
    now = 0.0
    monkeypatch.setattr(search.trials.memory, "time", SimpleNamespace(monotonic=lambda: now))
    machine(proc__vmstat="oom_kill 0\n")
    watch = KillWatch()
    machine(proc__vmstat="oom_kill 1\n")
    for _ in range(looks):
        now += LOOK_SECONDS
        watch.look()
        watch.look()  # at once again: it is not yet time for it
    assert bool(watch.why(KILLED)) == explains


def test_where_nothing_is_counted_nothing_is_said(machine):
    machine()
    assert KillWatch().why(KILLED) == ""
