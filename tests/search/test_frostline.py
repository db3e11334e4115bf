"""The command frostline."""

import importlib
import inspect
import subprocess

import pytest

from search.frostline import COMMANDS, application, main
from trainers.cli import launch


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_line_of_its_command(name):
    command = COMMANDS[name]
    function = getattr(importlib.import_module(command.module), command.function)
    assert inspect.getdoc(function).splitlines()[0] == command.summary


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"│ {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_its_name(name, capsys):
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: frostline {name} ")


def test_a_flag_may_stand_before_the_command(capsys):
    assert main(["--help", "predict"]) == 0
    assert capsys.readouterr().out.startswith("Usage: frostline predict ")


def test_an_unknown_command_is_met_with_the_nearest(capsys):
    assert main(["rn"]) == 2
    assert capsys.readouterr().err.startswith('error: Unknown command "rn". Did you mean "run"?')


def test_an_error_of_a_command_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--study", "nope"]) == 2
    assert capsys.readouterr().err.startswith("error: no study 'nope' in studies/; give one of imdb, ")


def test_a_name_lasts_as_long_as_its_command(capsys):
    main(["predict", "--help"])
    capsys.readouterr()

    def shown() -> int:
        """Do nothing."""
        return 0

    launch(shown, name="some.module", argv=["--help"])
    assert capsys.readouterr().out.startswith("Usage: python -m some.module")


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"frostline {importlib.metadata.version('frostline')}\n"


def test_bash_completes_commands_and_flags(tmp_path):
    script = tmp_path / "frostline"
    assert main(["--install-completion", "--shell", "bash", "--to", str(script)]) == 0
    ask = f"""
    source {script}
    complete_line() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _frostline; echo "${{COMPREPLY[@]}}"; }}
    complete_line frostline re
    complete_line frostline run --tri
    """
    answers = subprocess.run(
        ["bash", "-c", ask], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert answers == ["report", "--trials --trial-timeout"]


def test_completion_that_cannot_be_written_names_its_file(capsys):
    assert main(["--install-completion", "--shell", "bash", "--to", "/proc/none/frostline"]) == 2
    assert "completion must be written to /proc/none/frostline, got: " in capsys.readouterr().err


def test_completion_is_made_for_every_shell_that_is_offered():
    assert all("dashboard" in application().generate_completion(shell=s) for s in ("bash", "zsh", "fish"))
