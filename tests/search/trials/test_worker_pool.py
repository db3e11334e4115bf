import itertools
import os
import re
import signal
import sys
import threading
import time
from multiprocessing import Pipe, forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

import search.trials.memory
import search.trials.worker_pool
from search.run import main
from search.study.endings import Reason
from search.study.opening import open_study
from search.study.spec import load_spec
from search.trials.memory import KILLED_FIRST
from search.trials.news import Death, Failure, Fitted, Silence
from search.trials.worker_pool import MAX_STILLBORN, Crew, warm_up
from trainers.fit.records import Evaluation

PEEKS = (0.5,)
PATIENCE_SECONDS = 120

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crew(features):
    with Crew(features, size=2, peeks=PEEKS) as crew:
        yield crew


def follow(crew, job):
    """Take the news of one job to its end, always going on."""
    heard = []
    while True:
        for number, news in crew.news():
            assert number == job
            heard.append(news)
            if not isinstance(news, Evaluation):
                return heard
            crew.answer(job, go_on=True)


class Program:
    """Stands in for features: whoever unpickles it runs a program, which leaves a file of its process in a folder."""

    def __init__(self, program, *, folder, device="cpu"):
        self.program = f"import os, pathlib, sys\n{program}\npathlib.Path({str(folder)!r}, str(os.getpid())).write_text(said)"
        self.encoder = SimpleNamespace(device=device)

    def __reduce__(self):
        return exec, (self.program, {})


def said_by_processes(folder, *, count):
    """What so many of them said, by process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(files := sorted(folder.iterdir())) < count or not all(f.read_text() for f in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return {int(f.name): f.read_text() for f in files}


WHAT_IS_NEW = """
before = set(sys.modules)
import trainers.fit.loop, trainers.fit.features, trainers.fit.holdout, trainers.encoder, search.trials.memory
said = f"{set(sys.modules) - before} {'optuna' in sys.modules} {'sqlalchemy' in sys.modules}"
"""


def test_what_is_preloaded_is_all_that_a_fit_needs_of_ours_and_nothing_of_the_study(tmp_path):
    with Crew(Program(WHAT_IS_NEW, folder=tmp_path), size=1, peeks=()):
        assert [*said_by_processes(tmp_path, count=1).values()] == ["set() False False"]


def children_of(pid):
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(pid):
    """Processes that were forked to work, by the process that multiprocessing keeps for that."""
    servers = [c for c in children_of(pid) if b"forkserver" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return [worker for server in servers for worker in children_of(server)]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def stop(crew, job):
    """Let the process of a fit hang: it says nothing, and does not end."""
    os.kill(next(m for m in crew._members if m.job == job).process.pid, signal.SIGSTOP)


def test_a_fit_that_says_nothing_is_ended_and_its_process_replaced(features, make_config):
    with Crew(features, size=2, peeks=PEEKS) as crew:
        crew.begin(1, make_config())
        for job, _ in crew.news():
            crew.answer(job, go_on=True)
        crew.begin(2, make_config(epochs=1000, patience=None))
        crew.end_if_silent(1, seconds=0.5)
        follow_until_silent = []
        stop(crew, 1)
        while not follow_until_silent:
            for job, news in crew.news():
                if isinstance(news, Silence):
                    follow_until_silent.append((job, news))
                else:  # the other one's, or what the first had said before it was stopped
                    crew.answer(job, go_on=True)
        ((job, silence),) = follow_until_silent
        assert job == 1
        assert 0.5 <= silence.seconds < 30
        assert silence.reason.text.startswith("timed out: no news for ")
        assert [m.job for m in crew._members] in ([None, 2], [2, None])
        assert crew.has_room
        crew.begin(3, make_config(freeze_depth=3))
        while True:
            news = dict(crew.news())
            if 2 in news:
                crew.answer(2, go_on=True)
            if isinstance(news.get(3), Evaluation):
                crew.answer(3, go_on=True)
            elif 3 in news:
                break
        assert isinstance(news[3], Fitted)


def test_a_fit_without_a_limit_may_be_silent(features, make_config, monkeypatch):
    monkeypatch.setattr(search.trials.worker_pool, "LISTEN_SECONDS", 0.01)
    with Crew(features, size=1, peeks=()) as crew:
        crew.begin(1, make_config(freeze_depth=3))
        process = crew._members[0].process
        stop(crew, 1)
        threading.Timer(2, os.kill, (process.pid, signal.SIGCONT)).start()
        assert isinstance(follow(crew, 1)[-1], Fitted)
        assert crew._members[0].process is process


def test_time_that_the_machine_stood_still_is_no_silence(features, make_config, monkeypatch):
    """Pretended: the clock jumps by an hour in each wait."""
    hours = itertools.count(step=3600)
    monkeypatch.setattr(search.trials.worker_pool, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    monkeypatch.setattr(search.trials.worker_pool, "LISTEN_SECONDS", 0.05)
    with Crew(features, size=1, peeks=()) as crew:
        crew.begin(1, make_config(freeze_depth=3))
        crew.end_if_silent(1, seconds=60)
        assert isinstance(follow(crew, 1)[-1], Fitted)


DEVICES = """
import torch
said = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {torch.cuda.is_initialized()}"
"""


def devices_seen(folder, *, count):
    seen = said_by_processes(folder, count=count)
    assert {said.split()[1] for said in seen.values()} == {"False"}
    return {pid: said.split()[0] for pid, said in seen.items()}


def test_processes_share_cuda_devices_evenly_and_see_one_each_before_cuda_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,GPU-1f2e")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with Crew(Program(DEVICES, folder=tmp_path, device="cuda"), size=4, peeks=()) as crew:
        seen = devices_seen(tmp_path, count=4)
        assert sorted(seen.values()) == ["6", "6", "GPU-1f2e", "GPU-1f2e"]
        member = crew._members[0]
        assert kill_before_news(crew, 1, None) == [(1, Death(-signal.SIGKILL))]
        (new,) = (device for pid, device in devices_seen(tmp_path, count=5).items() if pid not in seen)
        assert new == seen[member.process.pid]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6,GPU-1f2e"


@pytest.fixture
def oom_kills(tmp_path, monkeypatch):
    """A function: pretend that the kernel has killed so many processes of this cgroup for memory."""
    monkeypatch.setattr(search.trials.memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(search.trials.memory, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "cgroup").mkdir()

    def count(number):
        (tmp_path / "cgroup" / "memory.events").write_text(f"oom 9\noom_kill {number}\n")

    count(0)
    return count


def test_workers_are_killed_before_their_search(crew, make_config):
    crew.begin(1, make_config())
    crew.news()  # a process that has just begun may not have said so yet
    scores = [
        Path(f"/proc/{p}/oom_score_adj").read_text() for p in (os.getpid(), crew._members[0].process.pid)
    ]
    own, workers = map(int, scores)
    assert workers == own + KILLED_FIRST


def test_a_process_that_the_system_killed_for_memory_is_not_replaced(features, make_config, oom_kills):
    with Crew(features, size=2, peeks=()) as crew:
        for job in (1, 2):
            crew.begin(job, make_config())
            oom_kills(job)
            next(m for m in crew._members if m.job == job).process.kill()
            ((heard, death),) = crew.news()
            assert (heard, death.why) == (job, "for lack of memory")
            assert len(crew._members) == 1
            assert death.num_left == (1 if job == 1 else None)
        crew.begin(3, make_config(freeze_depth=3))
        assert isinstance(follow(crew, 3)[-1], Fitted)


def kill_before_news(crew, job, config):
    os.kill(crew._members[0].process.pid, signal.SIGKILL)
    crew._members[0].process.join()
    crew.begin(job, config)
    return list(crew.news())


def test_a_process_that_dies_inside_a_message_is_replaced(features, make_config):
    with Crew(features, size=1, peeks=()) as crew:
        crew.begin(0, make_config(freeze_depth=3))
        member = crew._members[0]
        member.process.kill()
        member.link.close()
        member.link, theirs = Pipe()
        os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"the first of a hundred bytes")
        theirs.close()
        assert list(crew.news()) == [(0, Death(-signal.SIGKILL))]
        crew.begin(1, make_config(freeze_depth=3))
        assert isinstance(follow(crew, 1)[-1], Fitted)


def test_process_that_is_killed_before_its_first_news_is_replaced(features, make_config):
    with Crew(features, size=1, peeks=PEEKS) as crew:
        assert kill_before_news(crew, 1, make_config()) == [(1, Death(-signal.SIGKILL))]
        crew.begin(2, make_config())
        assert isinstance(follow(crew, 2)[-1], Fitted)


def test_processes_that_die_one_after_the_other_before_any_news_stop_the_search(features, make_config):
    with Crew(features, size=1, peeks=PEEKS) as crew:
        for job in range(MAX_STILLBORN):
            kill_before_news(crew, job, make_config())
        with pytest.raises(
            RuntimeError, match="4 worker processes ended before their first news, exit code -9"
        ):
            kill_before_news(crew, MAX_STILLBORN, make_config())


@pytest.mark.usefixtures("tiny_reviews", "plain_report")
def test_workers_spend_exactly_the_budget_and_leave_no_process_behind(write_tiny_study, tmp_path):
    path = write_tiny_study(tmp_path)
    before = workers_of(os.getpid())
    assert main(["--trials", "7", "--workers", "2", "--study", str(path)]) == 0
    trials = open_study(load_spec(path), path).trials
    assert [t.number for t in trials] == list(range(7))
    assert all(t.state.name in {"COMPLETE", "PRUNED"} for t in trials)
    assert [c for c in workers_of(os.getpid()) if c not in before and is_alive(c)] == []


@pytest.mark.full  # tests/chaos/test_kills.py looks for what a killed search leaves behind
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_workers_end_with_the_search(write_tiny_study, command, tmp_path, number, code):
    path = write_tiny_study(
        tmp_path, ("epochs = 2", "epochs = 2000"), ("[cache]", "[pruning]\nrungs = []\n\n[cache]")
    )
    with command(
        "-m",
        "search.run",
        "--trials",
        "9",
        "--workers",
        "2",
        "--recipes",
        "none",
        "--study",
        path,
        start=True,
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            workers = []
            while len(workers) < 2:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
                workers = workers_of(process.pid)
            time.sleep(3)
            process.send_signal(number)
            assert process.wait(timeout=PATIENCE_SECONDS) == code
        finally:
            process.kill()
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [w for w in workers if is_alive(w)] == []
    states = [t.state.name for t in open_study(load_spec(path), path).trials]
    assert ("RUNNING" in states) == (number == signal.SIGKILL)


def test_a_bug_is_raised_with_its_trace_and_a_known_failure_is_not():
    reason = Reason.of_bug(ValueError("x"))
    Failure(reason).raise_bug()
    with pytest.raises(RuntimeError, match="a worker met a bug:\nTraceback"):
        Failure(reason, "Traceback").raise_bug()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_hear_no_interrupt_of_the_whole_group_as_a_notebooks_stop_button_sends():
    warm_up()
    server = forkserver._forkserver._forkserver_pid
    [mask] = re.findall(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{server}/status").read_text(), flags=re.MULTILINE)
    blocked = signal.SIGINT, signal.SIGTERM
    assert [bool(int(mask, 16) >> (number - 1) & 1) for number in blocked] == [True, True]
