import subprocess
import tempfile
import time
import traceback
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import make_url

from search.dashboard.command import main as dashboard
from search.export import main as export
from search.report.command import main as report
from search.run import main as search
from search.storage.credentials import STORAGE_VARIABLE, check_at_signs, chosen_url, redacted
from trainers.errors import InputError

CANARY = "Kanarienvogel-7Q"
REFUSAL = (
    "--storage must hold no password, since the process list shows it to every user of this machine; set the whole "
    "URL in the environment variable FROSTLINE_STORAGE, or leave the password to ~/.pgpass or PGPASSWORD"
)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{CANARY}@host/db",
        f"postgresql://:{CANARY}@host/db",
        "postgresql://me:@host/db",
        f"postgresql://me@host/db?password={CANARY}",
        f"postgresql://me@host/db?sslpassword={CANARY}",
        f"postgresql:///me:{CANARY}@host/db",
        f"postgresql://me:{CANARY}@host:port/db",
        f"postgresql:me:{CANARY}@host/db",
        f"mysql://host/db?passwd={CANARY}",
        f"mssql+pyodbc:///?odbc_connect=PWD%3D{CANARY}",
        f"sqlite:///study.db?password={CANARY}",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(url):
    with pytest.raises(InputError) as caught:
        chosen_url(url)
    assert str(caught.value) == REFUSAL


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a@b.db",
        "postgresql+psycopg://me@host/db?sslmode=require&passfile=/home/me/.pgpass&connect_timeout=5",
        "nonsense",
    ],
)
def test_a_url_without_a_password_is_taken_as_it_is(url):
    assert chosen_url(url) == url


def test_the_environment_gives_what_the_option_does_not(monkeypatch):
    assert chosen_url(None) is None
    monkeypatch.setenv(STORAGE_VARIABLE, f"postgresql://me:{CANARY}@host/db")
    assert chosen_url(None) == f"postgresql://me:{CANARY}@host/db"
    assert chosen_url("sqlite:///x.db") == "sqlite:///x.db"
    monkeypatch.setenv(STORAGE_VARIABLE, "")
    assert chosen_url(None) is None


def test_a_url_is_shown_without_password_and_query():
    assert redacted(f"postgresql://me:{CANARY}@host/db?password={CANARY}") == "postgresql://me:***@host/db"


@pytest.mark.parametrize("url", [f"postgresql://me:a@{CANARY}@host/db", f"postgresql:///me:{CANARY}@host/db"])
def test_an_at_sign_that_would_show_part_of_a_password_is_refused(url):
    with pytest.raises(InputError) as caught:
        check_at_signs(make_url(url))
    assert str(caught.value) == (
        "a database URL must hold one @, before the host, and this one holds more; percent-encode those in user and "
        "password: %40"
    )


COMMANDS = (search, report, export, dashboard)


@pytest.mark.parametrize("main", COMMANDS, ids=lambda main: main.__module__)
def test_every_command_refuses_a_password_in_its_options(main, capsys):
    line = ["--study", "quick", "--storage", f"postgresql://me:{CANARY}@host/db"]
    assert main(line) == 2
    assert capsys.readouterr().err == f"error: {REFUSAL}\n"
    with pytest.raises(InputError) as caught:
        main([*line, "--debug"])
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["line", "traceback"])
@pytest.mark.parametrize("words", [["URL"], ["--trials", "URL"], ["--storag", "URL"]], ids=" ".join)
def test_a_url_in_the_wrong_place_is_quoted_without_its_password(words, debug, capsys):
    url = f"postgresql://me:{CANARY}@host/db?password={CANARY}"
    assert search([*(url if word == "URL" else word for word in words), *debug]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert CANARY not in said


FAILING = {
    "nobody listens": (f"postgresql+psycopg://me:{CANARY}@127.0.0.1:1/db", "Connection refused"),
    "unknown host": (f"postgresql+psycopg://me:{CANARY}@nowhere.invalid/db", "nowhere.invalid"),
    "missing driver": (f"mysql://me:{CANARY}@127.0.0.1/db", "is not installed"),
    "unknown database": (f"foo://me:{CANARY}@127.0.0.1/db", "is known"),
    "no port": (f"postgresql://me:{CANARY}@127.0.0.1:port/db", "must be a database URL"),
    "no URL": (CANARY, "must be a database URL"),
    "braces": (f"postgresql://me:{{{CANARY}}}@127.0.0.1/db", "percent-encode them: %7B, %7D"),
    "at sign": (f"postgresql://me:a@{CANARY}@127.0.0.1/db", "percent-encode those in user and password: %40"),
    "unknown option": (
        f"postgresql+psycopg://me@127.0.0.1:1/db?secret={CANARY}",
        'invalid connection option "secret"',
    ),
    "missing folder": (
        f"sqlite:///file:/nonexistent/x.db?uri=true&password={CANARY}",
        "unable to open database file",
    ),
    "bad value": (f"sqlite:////nonexistent/x.db?timeout={CANARY}", "must be options of the 'sqlite' driver"),
}


@pytest.mark.parametrize(("url", "words"), FAILING.values(), ids=FAILING)
def test_no_error_and_no_traceback_shows_a_password(
    url, words, write_tiny_study, tmp_path, monkeypatch, capsys
):
    if url.startswith("postgresql+psycopg"):
        pytest.importorskip("psycopg")
    monkeypatch.setenv(STORAGE_VARIABLE, url)
    line = ["--study", str(write_tiny_study(tmp_path))]
    assert search(line) == 2
    said = capsys.readouterr().err
    assert words in said
    with pytest.raises(InputError) as caught:
        search([*line, "--debug"])
    assert CANARY not in said + "".join(traceback.format_exception(caught.value))


def test_a_server_that_refuses_the_password_does_not_make_us_repeat_it(
    postgres_server, write_tiny_study, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(STORAGE_VARIABLE, postgres_server.url("postgres", password=CANARY))
    line = ["--study", str(write_tiny_study(tmp_path))]
    assert search(line) == 2
    said = capsys.readouterr().err
    assert "password authentication failed" in said
    with pytest.raises(InputError) as caught:
        search([*line, "--debug"])
    assert CANARY not in said + "".join(traceback.format_exception(caught.value))
    assert [p for p in tmp_path.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()] == []


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_reviews")
def test_a_secret_in_the_url_is_left_nowhere(write_tiny_study, tmp_path, monkeypatch, command, capsys):
    path = write_tiny_study(tmp_path)
    database = tmp_path / "shared.db"
    url = f"sqlite:///file:{database}?uri=true&password={CANARY}"
    monkeypatch.setenv(STORAGE_VARIABLE, url)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines, outputs = set(), []
    with command(
        *("-m", "search.run", "--study", path, "--trials", "2", "--workers", "2", "--recipes", "none"),
        start=True,
    ) as running:
        while running.poll() is None:
            lines |= set(command_lines_below(running.pid))
            time.sleep(0.05)
        outputs += running.communicate()
    assert running.returncode == 0, outputs
    assert any("forkserver" in line for line in lines)
    for main in (report, export):
        assert main(["--study", str(path)]) == 0
        outputs += capsys.readouterr()
    assert f"search.run --study {path} --trials 25" in outputs[0]
    assert [text for text in (*lines, *outputs) if CANARY in text] == []
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {"shared.db", "report.json", "winner.toml", "model.safetensors"} <= {p.name for p in files}
    assert [p for p in files if CANARY.encode() in p.read_bytes()] == []
    study = optuna.load_study(storage=f"sqlite:///{database}", study_name="tiny")
    assert len(study.trials) == 2
    assert CANARY not in repr(
        [study.user_attrs, study._storage.get_study_system_attrs(study._study_id), study.trials]
    )


def command_lines_below(pid):
    """Read what ``ps`` shows of a process and of those that descend from it."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    children = {}
    for child, parent in (map(int, line.split()) for line in listed.splitlines()):
        children.setdefault(parent, []).append(child)
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        try:
            yield Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
