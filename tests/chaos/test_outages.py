"""A database that is away or locked, and two searches of one study at once."""

import contextlib
import sqlite3
import time

import pytest
from postgres import PASSWORD

pytestmark = pytest.mark.slow

MOMENTS = {
    "a trial is asked for": "before ask",
    "trials train": "after step",
    "a result is told": "before tell",
}
LONG = (3, 30)


@pytest.fixture
def on_server(postgres_server, monkeypatch):
    """What a search needs to keep its study in a new database of the server."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres_server.url(postgres_server.create_database(), password="").replace(":@", "@")
    return {"storage": url, "environment": {"PGPASSWORD": PASSWORD}}


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        *(pytest.param(s, m, marks=pytest.mark.full) for s in LONG for m in MOMENTS),
        *(pytest.param(0.2, m, marks=pytest.mark.full) for m in list(MOMENTS)[:2]),
        (0.2, "a result is told"),
    ],
)
def test_search_outlives_a_server_that_is_killed(
    make_search, postgres_server, on_server, verify, seconds, moment
):
    search = make_search(**on_server, constants={"search.storage.lease": {"HEARTBEAT_SECONDS": 0.5}})
    launch = search.start(at=MOMENTS[moment], nth=2, do="wait")
    launch.wait_for_fault()
    postgres_server.kill()
    try:
        launch.go()
        time.sleep(seconds)
    finally:
        postgres_server.start()
    ending = search.ended(launch)
    assert ending.code == 0, ending.output
    verify(
        search,
        scenario=f"PostgreSQL killed -9 and away for {seconds:g} s while {moment}",
        saw=ending.line_with("study's database", "trials finished"),
    )


@pytest.mark.parametrize("seconds", [2, pytest.param(20, marks=pytest.mark.full)])
def test_search_outlives_a_lock_of_another_process(make_search, verify, seconds):
    search = make_search()
    launch = search.start(at="before tell", do="wait")
    launch.wait_for_fault()
    with contextlib.closing(sqlite3.connect(search.results / "study.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        launch.go()
        time.sleep(seconds)
        other.execute("COMMIT")
    ending = search.ended(launch)
    assert ending.code == 0, ending.output
    verify(
        search,
        scenario=f"SQLite locked for {seconds} s by another process",
        saw=ending.line_with("study's database", "trials finished"),
    )


@pytest.mark.full
def test_search_whose_server_stays_away_says_so_and_goes_on_later(
    make_search, postgres_server, on_server, verify
):
    search = make_search(**on_server, constants={"search.storage.database": {"PATIENCE_SECONDS": 3}})
    launch = search.start(at="before tell", do="wait")
    launch.wait_for_fault()
    postgres_server.kill()
    try:
        launch.go()
        ending = search.ended(launch)
    finally:
        postgres_server.start()
    assert ending.code == 2, ending.output
    assert "bring it back and give the same command again" in ending.last_line
    search.finish()
    verify(search, scenario="PostgreSQL away for longer than a search waits", saw=ending.last_line)


def test_one_of_two_searches_started_at_once_is_refused(make_search, verify):
    search = make_search(step_seconds=0.2)
    both = [search.start(), search.start()]
    endings = [search.ended(launch) for launch in both]
    assert sorted(e.code for e in endings) == [0, 2], endings
    (refused,) = [e for e in endings if e.code == 2]
    assert "must be searched by one process at a time" in refused.last_line
    verify(search, scenario="two searches of one study started at once, SQLite", saw=refused.last_line)


@pytest.mark.full
def test_one_of_two_searches_on_a_server_is_refused(make_search, on_server, verify):
    search = make_search(**on_server, step_seconds=0.2)
    both = [search.start(host="north"), search.start(host="south")]
    endings = [search.ended(launch) for launch in both]
    assert sorted(e.code for e in endings) == [0, 2], endings
    (refused,) = [e for e in endings if e.code == 2]
    assert "must be searched by one process at a time" in refused.last_line
    verify(search, scenario="two machines started at once, PostgreSQL", saw=refused.last_line)


@pytest.mark.parametrize(  # outside any transaction
    "at", [pytest.param("before report", marks=pytest.mark.full), "before tell"]
)
def test_search_that_was_frozen_while_another_machine_took_over_changes_nothing(make_search, verify, at):
    search = make_search(constants={"search.storage.lease": {"GRACE_SECONDS": 1}})
    frozen = search.start(at=at, nth=2, do="wait", host="north")
    frozen.wait_for_fault()
    frozen.freeze()
    time.sleep(3)
    assert search.run(host="south").code == 0
    before = search.trials()
    frozen.go()
    frozen.thaw()
    ending = search.ended(frozen)
    assert ending.code == 2, ending.output
    assert "took it over while this one was away" in ending.last_line
    assert search.trials() == before
    verify(search, scenario="a frozen search wakes up after another machine took over", saw=ending.last_line)
