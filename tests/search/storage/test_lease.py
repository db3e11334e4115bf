import contextlib
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import optuna
import pytest

import search.storage.lease
from search.storage.database import connect
from search.storage.lease import (
    GRACE_SECONDS,
    KEY,
    Holder,
    Lease,
    LeaseHeldError,
    LeaseLostError,
    database_of,
    is_searched,
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    """A new database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def open_study(url):
    """A function: open the study, as another process would."""

    def open_it():
        return optuna.create_study(
            storage=connect(url), study_name="toy", direction="maximize", load_if_exists=True
        )

    return open_it


def occupy(study, **changes):
    """Put another holder into the study's row."""
    holder = replace(Holder.this_process(), seen=time.time(), **changes)
    study._storage.set_study_system_attr(study._study_id, KEY, asdict(holder))
    return holder


def holder_in(study):
    row = study._storage.get_study_system_attrs(study._study_id).get(KEY)
    return Holder(**row) if row else None


def refusal(study):
    with pytest.raises(LeaseHeldError) as caught, Lease(study):
        pass
    return str(caught.value)


@pytest.fixture
def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_lease_is_held_in_the_block_and_gone_after_it(open_study):
    study = open_study()
    with Lease(study):
        assert holder_in(study).pid == Holder.this_process().pid
    assert holder_in(study) is None


def test_lease_of_a_living_process_is_refused_with_its_name(open_study):
    first, second = open_study(), open_study()
    with Lease(first):
        me = Holder.this_process()
        assert refusal(second) == (
            f"study 'toy' must be searched by one process at a time, and process {me.pid} of {me.host} searches "
            "it; wait for it, end it, or watch it with python -m search.dashboard"
        )
    with Lease(second):
        pass


def test_lease_of_a_dead_process_is_taken_at_once(open_study, ended_process):
    study = open_study()
    occupy(study, pid=ended_process)
    with Lease(study):
        assert holder_in(study).pid == Holder.this_process().pid


def test_process_that_got_the_number_of_a_dead_one_has_no_lease(open_study):
    study = open_study()
    occupy(study, started=Holder.this_process().started - 1000)
    with Lease(study):
        assert holder_in(study).started == Holder.this_process().started


def test_process_that_ended_but_was_not_waited_for_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        holder = replace(Holder.this_process(), pid=process.pid)
        holder = replace(holder, started=search.storage.lease.psutil.Process(process.pid).create_time())
        deadline = time.monotonic() + 60
        while not holder.is_dead(now=0.0) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert holder.is_dead(now=0.0)
        assert process.returncode is None


def test_lease_of_another_machine_is_refused_until_the_grace_period_is_over(open_study, slept):
    study = open_study()
    occupy(study, place="elsewhere", host="node7", pid=12)
    clock = " by this machine's clock" if database_of(study).engine.name == "sqlite" else ""
    assert (
        f"process 12 of node7 (last seen 0 s ago{clock}) searches it; wait for it, or, should it be dead, until 60 s"
        in (refusal(study))
    )
    assert slept == []
    holder = replace(holder_in(study), seen=time.time() - GRACE_SECONDS - 5)
    study._storage.set_study_system_attr(study._study_id, KEY, asdict(holder))
    with Lease(study):
        assert holder_in(study).place != "elsewhere"


@pytest.fixture
def slept(monkeypatch):
    """What was slept, in seconds, without doing so."""
    naps = []
    monkeypatch.setattr(search.storage.lease.time, "sleep", naps.append)
    return naps


def skew(monkeypatch, seconds):
    """Let the main thread's machine be so far ahead of that of other threads: SQLite's clock is the machine's own."""
    now = search.storage.lease._now

    def skewed(connection):
        is_challenger = threading.current_thread() is threading.main_thread()
        return now(connection) + seconds * (is_challenger and connection.engine.name == "sqlite")

    monkeypatch.setattr(search.storage.lease, "_now", skewed)
    monkeypatch.setattr(time, "time", lambda: seconds)  # whoever looks at it


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [-300, -61, 61, 300])
def test_living_search_is_not_taken_over_whatever_the_clock_of_another_machine_says(
    open_study, monkeypatch, ahead
):
    monkeypatch.setattr(search.storage.lease, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(search.storage.lease, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(search.storage.lease, "GRACE_SECONDS", 10.0)
    place = search.storage.lease._place()
    first, second = open_study(), open_study()
    messages = []
    database_of(second).tell = messages.append
    monkeypatch.setattr(search.storage.lease, "_place", lambda: "north")
    with Lease(first):
        holder = holder_in(second)
        monkeypatch.setattr(search.storage.lease, "_place", lambda: place)
        skew(monkeypatch, ahead)
        with pytest.raises(LeaseHeldError) as caught, Lease(second):
            pass
        assert is_searched(second)
        assert holder_in(second).token == holder.token
        if database_of(second).engine.name == "sqlite":
            assert len(messages) == 1
            assert re.search(r"its clock and this machine's differ by \d+ s\) searches it", str(caught.value))
        else:
            assert messages == []
            assert re.search(r"\(last seen \d s ago\) searches it", str(caught.value))


@pytest.mark.parametrize("ahead", [GRACE_SECONDS + 5, 3600, -GRACE_SECONDS - 5, -3600])
def test_dead_search_of_another_machine_is_taken_over_whatever_its_clock_said(open_study, ahead, slept):
    """A server's clock may not be ahead of itself."""
    study = open_study()
    is_sqlite = database_of(study).engine.name == "sqlite"
    occupy(study, place="elsewhere", host="node7", pid=12)
    seen = time.time() + (ahead if is_sqlite else -abs(ahead))
    holder = replace(holder_in(study), seen=seen)
    study._storage.set_study_system_attr(study._study_id, KEY, asdict(holder))
    messages = []
    database_of(study).tell = messages.append
    assert not is_searched(study)
    assert sum(slept) == (GRACE_SECONDS if is_sqlite else 0)
    with Lease(study):
        assert holder_in(study).place != "elsewhere"
    assert messages == is_sqlite * [
        "process 12 of node7 has searched this study; SQLite has no clock that both machines share, hence it is watched "
        "for 60 s to see whether it is still running"
    ]


def test_another_container_of_this_system_has_its_clock(open_study, monkeypatch, slept):
    monkeypatch.setattr(search.storage.lease, "_boot", lambda: "one-boot")
    study = open_study()
    holder = occupy(study, place="container one-boot pid:[7]", host="node7", pid=12)
    assert "(last seen 0 s ago) searches it" in refusal(study)
    holder = replace(holder, seen=time.time() - GRACE_SECONDS - 5)
    study._storage.set_study_system_attr(study._study_id, KEY, asdict(holder))
    with Lease(study):
        assert holder_in(study).token != holder.token
    assert slept == []


@pytest.mark.parametrize(("age", "is_held"), [(5, True), (GRACE_SECONDS + 5, False)])
def test_lease_of_the_first_version_is_understood(open_study, slept, age, is_held):
    study = open_study()
    row = {"token": "0d1e", "host": "node7", "place": "node7 7a13ca8f-3e2f pid:[4026531836]", "pid": 12}
    row |= {"started": 1764260000.5, "seen": time.time() - age}
    study._storage.set_study_system_attr(study._study_id, KEY, row)
    if is_held:
        assert "process 12 of node7 (last seen " in refusal(study)
    else:
        with Lease(study):
            assert slept == [1.0] * 60 * (database_of(study).engine.name == "sqlite")
            assert set(study._storage.get_study_system_attrs(study._study_id)[KEY]) == set(row)


def test_search_that_lost_its_lease_writes_to_no_trial(open_study):
    study = open_study()
    with Lease(study):
        trial, other = study.ask(), study.ask()
        occupy(study, token="another", place="elsewhere", host="node7", pid=12)
        for write in (
            lambda: study.tell(trial, 0.5),
            lambda: other.report(0.5, 1),
            lambda: other.set_user_attr("reason", "late"),
            lambda: other.suggest_float("dropout", 0.0, 0.5),
            lambda: study.enqueue_trial({"dropout": 0.1}),
            study.ask,
        ):
            with pytest.raises(LeaseLostError) as caught:
                write()
        assert str(caught.value) == (
            "study 'toy' must be searched by one process at a time, and process 12 of node7 took it over while this "
            "one was away; leave it to that one, which repeats the trials that were under way here"
        )
    trials = open_study().trials
    assert [t.state.name for t in trials] == ["RUNNING", "RUNNING"]
    assert [(t.values, t.user_attrs, t.params) for t in trials] == [(None, {}, {})] * 2


def test_lost_lease_is_not_given_back_in_the_place_of_its_holder(open_study):
    study = open_study()
    with Lease(study):
        occupy(study, token="another", place="elsewhere")
    assert holder_in(study).token == "another"


def test_lease_that_nobody_has_any_more_is_lost(open_study):
    study = open_study()
    with Lease(study):
        database_of(study).scoped_session.remove()
        with database_of(study).engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM study_system_attributes")
        with pytest.raises(LeaseLostError, match="and another process took it over"):
            study.ask()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_signs_of_life_go_on_and_survive_a_database_that_is_away(open_study, monkeypatch):
    monkeypatch.setattr(search.storage.lease, "HEARTBEAT_SECONDS", 0.05)
    study = open_study()
    with Lease(study):
        taken = holder_in(study).seen
        wait_for(lambda: holder_in(study).seen > taken)
        dialect = database_of(study).engine.dialect
        broken = []

        def refuse(*_):
            broken.append(True)
            raise dialect.loaded_dbapi.OperationalError("away")

        with monkeypatch.context() as patch:
            patch.setattr(dialect, "do_execute", refuse)
            wait_for(lambda: len(broken) > 2)
        before = holder_in(study).seen
        wait_for(lambda: holder_in(study).seen > before)
        assert holder_in(study).pid == Holder.this_process().pid


def test_of_two_that_take_it_at_once_one_gets_it(open_study, monkeypatch):
    first, second = open_study(), open_study()
    lease = Lease(first)
    read = search.storage.lease._read
    taken = contextlib.ExitStack()

    def slow_read(connection, where):
        text = read(connection, where)
        monkeypatch.setattr(search.storage.lease, "_read", read)
        taken.enter_context(Lease(second))  # between the look and the leap of the first
        return text

    monkeypatch.setattr(search.storage.lease, "_read", slow_read)
    with taken, pytest.raises(LeaseHeldError), lease:
        pass
