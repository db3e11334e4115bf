import json
import subprocess
import sys

import pytest

from trainers.cli import launch
from trainers.errors import FitError, InputError

COMMANDS = ["trainers.train", "trainers.predict"]

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
