import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.cli import launch
from trainers.errors import FitError, InputError

COMMANDS = ["trainers.train", "trainers.predict", "trainers.serve"]

HELP = """
import json, runpy, sys
sys.argv = [{module!r}, "--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as end:
    code = end.code
heavy = [m for m in ("torch", "transformers", "pandas", "sklearn", "optuna", "numpy") if m in sys.modules]
print(json.dumps([code or 0, heavy]), file=sys.stderr)
"""


def greet(name: str, /, *, times: int = 1) -> int:
    """Greet somebody.

    Args:
        name: Who.
        times: How often.
    """
    if name == "nobody":
        raise InputError("name must be somebody,\n got 'nobody'; give a name")
    if name == "divergent":
        raise FitError("diverged: training loss nan at learning rate 1")
    if name == "bug":
        raise RuntimeError("a bug")
    if name == "elsewhere":
        raise OSError(28, "no room elsewhere")
    sys.stdout.write(f"hello {name} {times}\n")
    return 0


def run(*argv):
    return launch(greet, name="greet", argv=argv)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_answers_without_heavy_imports(module):
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(module=module)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]
    assert f"Usage: python -m {module}" in done.stdout


def test_a_command_gets_its_arguments(capsys):
    assert run("Ada", "--times", "2") == 0
    assert capsys.readouterr().out == "hello Ada 2\n"


def test_an_input_error_is_one_line_and_exit_code_2(capsys):
    assert run("nobody") == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: name must be somebody, got 'nobody'; give a name\n")


def test_a_failed_fit_is_one_line_and_exit_code_2(capsys):
    assert run("divergent") == 2
    assert capsys.readouterr().err == "error: diverged: training loss nan at learning rate 1\n"


def test_debug_shows_the_traceback():
    with pytest.raises(InputError):
        run("nobody", "--debug")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="a bug"):
        run("bug")


def test_an_unknown_flag_is_one_line_and_exit_code_2(capsys):
    assert run("Ada", "--time", "2") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Unknown option: --time. Did you mean --times?" in error


def test_a_missing_argument_is_exit_code_2(capsys):
    assert run() == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_value_of_the_wrong_type_is_exit_code_2(capsys):
    assert run("Ada", "--times", "often") == 2
    assert "often" in capsys.readouterr().err


def test_an_error_of_the_system_that_is_none_of_the_output_keeps_its_traceback():
    with pytest.raises(OSError, match="elsewhere"):
        run("elsewhere")


SPEAK = """
import sys
from trainers.cli import launch
def speak(*, lines: int = 1, echo: bool = False) -> int:
    text = sys.stdin.read().strip() if echo else "caf\\u00e9 \\u65e5\\u672c"
    for _ in range(lines):
        print(text, repr(text.encode()) if echo else "")
    return 0
sys.exit(launch(speak, name="speak", argv=sys.argv[1:]))
"""


def speak(*arguments, **options):
    return subprocess.run([sys.executable, "-c", SPEAK, *arguments], **{"stderr": subprocess.PIPE, **options})


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"caf\\xe9 \\u65e5\\u672c"),
        ("cp1252", b"caf\xe9 \\u65e5\\u672c"),
        ("utf-8", "caf\u00e9 \u65e5\u672c".encode()),
    ],
)
def test_what_the_terminal_lacks_is_escaped(encoding, expected, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = speak(stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, expected, b"")


def test_where_the_system_names_ascii_alone_input_is_taken_for_utf_8(monkeypatch):
    for key, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(key, value)
    text = "caf\u00e9".encode()
    done = speak("--echo", input=text, stdout=subprocess.PIPE)
    assert done.stdout.decode("ascii").strip() == f"caf\\xe9 {text!r}", done.stderr


NO_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@NO_FULL
def test_every_command_tells_the_version(capsys):
    assert launch(greet, name="greet", argv=["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"frostline {importlib.metadata.version('frostline')}"


@pytest.mark.parametrize("arguments", [(), ("--lines", "9999"), ("--help",)], ids=["little", "much", "help"])
def test_output_without_room_is_one_line_and_exit_code_2(arguments):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = speak(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: what a command prints must find room, got: No space left on device; free space, or send it elsewhere\n"
    )


@NO_FULL
def test_an_error_that_finds_no_room_keeps_its_exit_code():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        assert speak("--no-such-flag", stdout=subprocess.DEVNULL, stderr=full).returncode == 2


@pytest.mark.parametrize("arguments", [(), ("--lines", "9999"), ("--help",)], ids=["little", "much", "help"])
def test_output_that_nobody_reads_ends_in_silence(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = speak(*arguments, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("module", ["search.run.command", "search.new.command", "search.confirm.command"])
def test_on_windows_a_search_is_refused_in_a_clear_word(module, monkeypatch, capsys):
    main = importlib.import_module(module).main
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["reviews.csv"] if module == "search.new.command" else []) == 2
    assert capsys.readouterr().err == (
        "error: a search needs Linux or macOS, got Windows; run it under WSL (saved models load and predict on Windows, "
        "too)\n"
    )
