import shutil
import sqlite3
import sys
import threading
import time
from contextlib import closing

import optuna
import pytest
from faults import Faults
from optuna.trial import TrialState
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

import search.storage.database
from search.storage.database import Database, DatabaseAwayError, connect
from trainers.errors import InputError

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def new_file(tmp_path_factory):
    """A database with tables and an empty study."""
    path = tmp_path_factory.mktemp("template") / "new.db"
    optuna.create_study(storage=Database(f"sqlite:///{path}"), study_name="toy", direction="maximize")
    return path


@pytest.fixture
def make_study(new_file, tmp_path):
    """A function: open a new study; several do not know of one another."""
    opened = []

    def make():
        path = tmp_path / f"{len(opened)}.db"
        shutil.copy(new_file, path)
        opened.append(study_in(f"sqlite:///{path}"))
        return opened[-1]

    return make


def study_in(url):
    database = connect(url)
    database.is_patient = True
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.load_study(storage=database, study_name="toy", sampler=sampler)


def database_in(study):
    return study._storage._backend


def file_of(study):
    return database_in(study).engine.url.database


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """What users are told while a database is away."""
    lines = []
    monkeypatch.setattr(search.storage.database, "warn", lines.append)
    return lines


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)


def work(study):
    """Do everything once that a search does with a database."""
    study.set_user_attr("spec", {"seed": 1})
    study.enqueue_trial({"dropout": 0.25}, user_attrs={"recipe": "frozen-head"})
    trial = study.ask()
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.set_user_attr("config", {"width": 8})
    trial.report(0.7, 250)
    trial.set_constraint("over", -0.1)
    study.tell(trial, 0.75)
    other = study.ask()
    other.suggest_float("dropout", 0.0, 0.5)
    other.report(0.4, 250)
    study.tell(other, state=TrialState.PRUNED)


def content(study):
    """All that a study holds, times apart, read by somebody else."""
    url = database_in(study).engine.url.render_as_string(hide_password=False)
    trials = study_in(url).trials
    parts = ("number", "state", "values", "params", "user_attrs", "system_attrs", "intermediate_values")
    return study.user_attrs, [{p: getattr(t, p) for p in parts} for t in trials]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", ["before", "after"])
def test_connection_lost_at_any_commit_changes_nothing(make_study, fault):
    undisturbed = make_study()
    faults = Faults(database_in(undisturbed))
    work(undisturbed)
    num_commits = faults.num_commits
    expected = content(undisturbed)
    assert num_commits > 20
    for position in range(num_commits):
        study = make_study()
        faults = Faults(database_in(study))
        faults.plan = [None] * position + [fault]
        work(study)
        assert not faults.plan
        assert content(study) == expected, f"{fault} commit {position}"


@pytest.mark.usefixtures("no_pauses")
def test_answers_lost_again_and_again_create_one_trial(make_study):
    study = make_study()
    Faults(database_in(study)).plan = ["after"] * 12
    study.ask()
    assert [t.state for t in study.trials] == [TrialState.RUNNING]


def test_trial_that_ended_otherwise_meanwhile_is_an_error(make_study, monkeypatch):
    study = make_study()
    trial = study.ask()
    other = study_in(str(database_in(study).engine.url))
    faults = Faults(database_in(study))
    monkeypatch.setattr(time, "sleep", lambda _: other.tell(trial.number, state=TrialState.FAIL))
    faults.plan = ["before"]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])


def lock_for(seconds, path):
    """Lock a SQLite file for so long, as another program might."""
    locked = threading.Event()

    def hold():
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(PATIENCE_SECONDS)
    return thread


@pytest.mark.slow
def test_locked_database_is_waited_for_and_the_user_told_once(told, make_study):
    study = make_study()
    trial = study.ask()
    thread = lock_for(3, file_of(study))
    study.tell(trial, 0.5)
    thread.join()
    assert study.trials[0].value == 0.5
    first, last = told
    assert first == (
        "the study's database does not answer (database is locked); waiting for it, at most 5 minutes"
    )
    assert last.startswith("the study's database is back after ")


@pytest.mark.slow
def test_locked_database_is_waited_for_when_it_is_opened(make_study):
    study = make_study()
    thread = lock_for(1.5, file_of(study))
    assert study_in(str(database_in(study).engine.url)).trials == []
    thread.join()


def test_database_that_stays_away_is_given_up_with_the_reason(make_study, monkeypatch):
    monkeypatch.setattr(search.storage.database, "PATIENCE_SECONDS", 0.2)
    study = make_study()
    Faults(database_in(study)).plan = ["before"] * 1000
    with pytest.raises(DatabaseAwayError) as caught:
        study.set_user_attr("seed", 1)
    assert str(caught.value) == (
        "the study's database must answer, but did not for 0 s: disk I/O error; bring it back and give the same "
        "command again: it finds and repeats the trials that were under way"
    )


def test_database_that_was_given_up_is_asked_once_more_but_not_waited_for(make_study, monkeypatch):
    monkeypatch.setattr(search.storage.database, "PATIENCE_SECONDS", 0.2)
    study = make_study()
    faults = Faults(database_in(study))
    faults.plan = ["before"] * 1000
    for _ in range(2):
        with pytest.raises(DatabaseAwayError):
            study.set_user_attr("seed", 1)
    left = len(faults.plan)
    with pytest.raises(DatabaseAwayError):
        study.set_user_attr("seed", 1)
    assert len(faults.plan) == left - 1
    faults.plan.clear()
    study.set_user_attr("seed", 1)
    assert study.user_attrs == {"seed": 1}


def test_database_is_hardly_waited_for_after_an_interruption(make_study, monkeypatch):
    monkeypatch.setattr(search.storage.database, "INTERRUPTED_PATIENCE_SECONDS", 0.2)
    signalled = time.monotonic()
    monkeypatch.setattr(search.storage.database, "interrupted_at", lambda: signalled)
    study = make_study()
    Faults(database_in(study)).plan = ["before"] * 1000
    began = time.monotonic()
    with pytest.raises(DatabaseAwayError):
        study.set_user_attr("seed", 1)
    assert time.monotonic() - began < 10


def test_only_a_search_waits_for_a_database_that_is_away(make_study):
    study = make_study()
    database_in(study).is_patient = False
    Faults(database_in(study)).plan = ["before"]
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("seed", 1)


def test_full_disk_is_an_error_that_loses_nothing(make_study, monkeypatch):
    monkeypatch.setattr(search.storage.database, "PATIENCE_SECONDS", 0.2)
    study = make_study()
    study.tell(study.ask(), 0.5)
    database_in(study).engine.dispose()
    pages = 1

    @event.listens_for(database_in(study).engine, "connect")
    def limit(connection, _):
        connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite takes the present size at least

    trial = study.ask()
    with pytest.raises(DatabaseAwayError, match="database or disk is full"):
        trial.set_user_attr("evaluations", "x" * 100_000)
    assert [t.value for t in study_in(str(database_in(study).engine.url)).trials] == [0.5, None]
    database_in(study).engine.dispose()
    pages = 1_000_000
    trial.set_user_attr("evaluations", "x" * 100_000)
    study.tell(trial, 0.6)
    assert [t.value for t in study.trials] == [0.5, 0.6]


def test_read_only_database_is_not_waited_for(make_study):
    study = make_study()
    engine = database_in(study).engine
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = 1"))
    began = time.monotonic()
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("seed", 1)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_processes_that_make_the_tables_at_once_both_succeed(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    made, barrier = [], threading.Barrier(4)

    def make():
        barrier.wait()
        made.append(connect(url))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [d.get_all_studies() for d in made] == [[]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgresql_that_goes_away_and_comes_back_changes_nothing(
    told, make_study, postgres_server, postgres_url, end
):
    undisturbed = make_study()
    for _ in range(3):
        work(undisturbed)
    database = connect(postgres_url)
    database.is_patient = True
    optuna.create_study(storage=database, study_name="toy", direction="maximize")
    study = optuna.load_study(
        storage=database, study_name="toy", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    work(study)
    getattr(postgres_server, end)()
    # The server ends with the thread that starts it.
    thread = threading.Thread(target=work, args=(study,))
    thread.start()
    time.sleep(2)
    postgres_server.start()
    thread.join()
    getattr(postgres_server, end)()
    postgres_server.start()
    work(study)
    parts = ("number", "state", "values", "params", "user_attrs", "system_attrs", "intermediate_values")
    seen, expected = (
        [{p: getattr(t, p) for p in parts} for t in s.get_trials()] for s in (study, undisturbed)
    )
    assert seen == expected
    assert told[0].startswith("the study's database does not answer (")
    assert "winter" not in "".join(told)


class LostConnections:
    """Ends the server's side of a connection, just before a statement is sent over it."""

    def __init__(self, database, url):
        self.at = None
        self.num_statements = 0
        self._killer = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        event.listen(database.engine, "before_cursor_execute", self.before)

    def before(self, connection, *_):
        if self.num_statements == self.at:
            pid = connection.connection.dbapi_connection.info.backend_pid
            with self._killer.connect() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        self.num_statements += 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_pauses")
def test_postgresql_connection_lost_at_any_statement_changes_nothing(postgres_url, pytestconfig):
    """At each of them with ``--chaos=full``, else at every eighth, the first and the last among them."""
    database = connect(postgres_url)
    lost = LostConnections(database, postgres_url)

    def done_anew(at):
        optuna.create_study(storage=database, study_name="toy", direction="maximize")
        database.is_patient = True
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.load_study(storage=database, study_name="toy", sampler=sampler)
        lost.at, lost.num_statements = at, 0
        work(study)
        num_statements, lost.at = lost.num_statements, None
        found = content(study)
        optuna.delete_study(storage=database, study_name="toy")
        return num_statements, found

    num_statements, expected = done_anew(None)
    assert num_statements > 50
    every = 1 if pytestconfig.getoption("chaos") == "full" else 8
    for position in sorted({*range(0, num_statements, every), num_statements - 1}):
        seen, found = done_anew(position)
        assert seen > position
        assert found == expected, f"statement {position}"


def test_plain_postgresql_url_takes_psycopg_3(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError) as caught:
        connect("postgresql://u:secret@h/db")
    assert str(caught.value) == (
        "--storage or FROSTLINE_STORAGE: the driver for 'postgresql' is not installed (psycopg); install it with "
        "pip install 'frostline[postgres]'"
    )
