"""A database that is away or locked, and two searches of one study at once."""

import contextlib
import sqlite3
import time

import pytest

pytestmark = pytest.mark.slow

MOMENTS = {
    "a trial is asked for": "before ask",
    "trials train": "after step",
    "a result is told": "before tell",
}
LONG = (3, 30)


@pytest.fixture
def postgres_search(make_search, postgres_server):
    """A search whose database is a server's; it runs again afterwards, whatever was done to it."""
    from postgres import PASSWORD, USER

    name = postgres_server.create_database()
    url = f"postgresql+psycopg://{USER}@127.0.0.1:{postgres_server.port}/{name}"
    yield make_search(storage=url, environment={"PGPASSWORD": PASSWORD})
    postgres_server.start()


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        *(pytest.param(s, m, marks=pytest.mark.full) for s in LONG for m in MOMENTS),
        *(pytest.param(0.2, m, marks=pytest.mark.full) for m in list(MOMENTS)[:2]),
        (0.2, "a result is told"),
    ],
)
def test_search_outlives_a_server_that_is_killed(postgres_search, postgres_server, verify, seconds, moment):
    launch = postgres_search.start(at=MOMENTS[moment], nth=2, do="wait")
    launch.wait_for_fault()
    postgres_server.kill()
    launch.go()
    time.sleep(seconds)
    postgres_server.start()
    ending = postgres_search.ended(launch)
    assert ending.code == 0, ending.output
    verify(
        postgres_search,
        scenario=f"PostgreSQL killed -9 and away for {seconds:g} s while {moment}",
        saw=ending.line_with("database") or ending.last_line,
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
        saw=ending.line_with("database") or ending.last_line,
    )


def test_second_search_of_a_study_is_refused(make_search, verify):
    search = make_search(step_seconds=0.2)
    both = [search.start(), search.start()]
    endings = [search.ended(launch) for launch in both]
    assert sorted(e.code for e in endings) == [0, 2]
    (refused,) = [e for e in endings if e.code == 2]
    assert "is being searched by" in refused.last_line
    verify(search, scenario="two searches of one study started at once", saw=refused.last_line)


@pytest.mark.full
def test_second_search_of_a_study_on_a_server_is_refused(postgres_search, verify):
    first = postgres_search.start(at="after step", do="wait")
    first.wait_for_fault()
    refused = postgres_search.run()
    first.go()
    assert refused.code == 2, refused.output
    assert "is being searched by" in refused.last_line
    assert postgres_search.ended(first).code == 0
    verify(
        postgres_search, scenario="second search started beside the first, PostgreSQL", saw=refused.last_line
    )
