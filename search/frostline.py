"""The command ``frostline``: one name for all that ``python -m`` starts, with completion for shells."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cyclopts import App

from search.terminal import say
from trainers.cli import called_as, launch_app, new_app
from trainers.errors import InputError

Shell = Literal["bash", "zsh", "fish"]


class Command(NamedTuple):
    """One of the ways to start.

    Attributes:
        module: Whose ``main`` runs it.
        function: Of that module; its parameters are the flags.
        summary: First line of its help, here since help must not wait for the modules.
    """

    module: str
    function: str
    summary: str


COMMANDS = {
    "new": Command(
        "search.new.command",
        "new",
        "Look at texts, say what was found, and write a study whose search ends in time.",
    ),
    "run": Command(
        "search.run.command",
        "run",
        "Search a study until it has the number of finished trials that you ask for; the same command continues it.",
    ),
    "report": Command(
        "search.report.command",
        "report",
        "Print the report of a study, finished or still running, and renew its report.html, .json and pareto.png.",
    ),
    "confirm": Command(
        "search.confirm.command",
        "confirm",
        "Fit the finalists of a study on fresh seeds, and test every fit; the same command continues it.",
    ),
    "export": Command(
        "search.export.command",
        "export",
        "Write the winner's configuration, fit it again and save the model.",
    ),
    "dashboard": Command(
        "search.dashboard.command",
        "dashboard",
        "Show a study in the browser, running or finished, until Ctrl-C.",
    ),
    "train": Command(
        "trainers.train", "_command", "Fit the configuration of a TOML file, such as an exported winner.toml."
    ),
    "serve": Command(
        "trainers.serve",
        "serve",
        "Answer POST /predict with labels and probabilities, until Ctrl-C; requests that come at once are computed together.",
    ),
    "predict": Command(
        "trainers.predict",
        "predict",
        "Print label, probability and text, separated by tabs, a line a text; control characters are escaped.",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((a for a in arguments if not a.startswith("-")), None)
    if name not in COMMANDS:
        return launch_app(application(), argv=arguments)
    arguments.remove(name)
    module = importlib.import_module(COMMANDS[name].module)
    with called_as(f"frostline {name}"):
        return int(module.main(arguments))


def application() -> App:
    """Return all commands as one, for its help and for completion."""
    app = new_app(
        "frostline",
        help="Search hyperparameters for fine-tuning a text encoder on a small labelled set.",
    )
    for name, command in COMMANDS.items():
        app.command(f"{command.module}:{command.function}", name=name, help=command.summary)

    @app.command(name="--install-completion", help_flags=[], version_flags=[])
    def _(*, shell: Shell | None = None, to: Path | None = None) -> None:
        """Install completion for your shell, or for --shell bash, zsh or fish; --to names another file."""
        from cyclopts.completion.detect import ShellDetectionError

        try:
            path = app.install_completion(shell=shell, output=to, add_to_startup=to is None)
        except ShellDetectionError:
            raise InputError("the shell cannot be told from its environment; name it with --shell") from None
        except OSError as error:
            raise InputError(
                f"completion must be written to {to or 'your home folder'}, got: {error.strerror}; give another file with --to"
            ) from error
        say(f"completion written to {path}; it works in shells that you open from now on")

    return app
