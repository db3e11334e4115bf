"""How every command of the project starts, and how it tells its user what went wrong."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import TextIOWrapper
from typing import Annotated, Any, Literal, TextIO

from cyclopts import App, CycloptsError, Parameter

from trainers.config import checked_device
from trainers.errors import FitError, InputError, printable

EXIT_INPUT = 2
"""Exit code when something that the user gave cannot be used, or makes a fit fail."""

EXIT_CLOSED = 1
"""Exit code when whoever read the output has gone, as ``head`` does; rich ends with the same."""


def _is_device(_: Any, name: str | None) -> None:
    if name not in (None, "auto"):
        checked_device(str(name))


DEVICE = Parameter(validator=_is_device)
"""For options that name a device: what can be none is refused at once."""


ThresholdOption = Annotated[
    Literal["f1", "f2", "f0.5", "balanced_accuracy"] | None,
    Parameter(
        help="Of two classes, let the model say one from that probability on that is best for this, on validation: its F1, "
        "F2 or F0.5, or balanced accuracy; of several labels a text, each. Changes labels. [default: the most probable class, each "
        "label from 0.5 on]"
    ),
]
PositiveOption = Annotated[
    str | None, Parameter(help="The class of --threshold. [default: the one with fewer training texts]")
]


_CALLED_AS: ContextVar[str | None] = ContextVar("called_as", default=None)


@contextmanager
def called_as(name: str) -> Iterator[None]:
    """What is launched inside a ``with`` block has this name in its help."""
    token = _CALLED_AS.set(name)
    try:
        yield
    finally:
        _CALLED_AS.reset(token)


def new_app(name: str, **settings: Any) -> App:
    """Return a command line that has ``--version``, and as yet no command."""
    return App(
        name=name,
        help_format="plaintext",
        result_action="return_value",
        version=_version,
        version_flags=["--version"],
        **settings,
    )


def launch(command: Callable[..., int], *, name: str, argv: Sequence[str] | None) -> int:
    """Parse the command line, run ``command`` as ``launch_app`` does, and return its exit code.

    Args:
        command: Its keyword-only parameters become flags, its docstring the help.
        name: Module path, shown as ``python -m name``, unless it is ``called_as`` something else.
        argv: Arguments; None takes the process's own.
    """
    app = new_app(_CALLED_AS.get() or f"python -m {name}")
    app.default(command)
    return launch_app(app, argv=argv)


def launch_app(app: App, *, argv: Sequence[str] | None) -> int:
    """Parse the command line, run a command of ``app`` and return its exit code.

    An ``InputError``, or a fit that failed, ends as one line on standard error and exit code 2; ``--debug``
    shows its traceback. That line shows no password of a URL, and a terminal finds nothing in it to obey. Characters
    that the terminal lacks are escaped. Output that finds no room ends the command in the same way. If nobody reads the output
    any more, the command ends silently.

    Args:
        app: As ``new_app`` returns it, with its commands.
        argv: Arguments; None takes the process's own.
    """
    _never_fail_at_a_character()
    arguments = list(sys.argv[1:] if argv is None else argv)

    @app.meta.default
    def _(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        debug: Annotated[bool, Parameter(negative=(), help="Show the traceback of an error.")] = False,
    ) -> Any:
        try:
            return app(tokens, exit_on_error=False, print_error=False)
        except (InputError, FitError, CycloptsError) as error:
            if debug and not isinstance(
                error, CycloptsError
            ):  # these quote the command line, passwords and all
                raise
            with suppress(OSError):
                print("error:", printable(_without_passwords(str(error))), file=sys.stderr)  # noqa: T201
            return EXIT_INPUT

    try:
        code = int(app.meta(arguments) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()  # at the very end an error would be a traceback
    except OSError as error:
        if not _silence_broken_output():
            raise
        if isinstance(error, BrokenPipeError):
            return EXIT_CLOSED
        with suppress(OSError):
            print(  # noqa: T201
                f"error: what a command prints must find room, got: {error.strerror}; free space, or send it elsewhere",
                file=sys.stderr,
            )
        return EXIT_INPUT
    return code


def refuse_windows() -> None:
    """Say so where worker processes cannot be started.

    Raises:
        InputError: This is Windows.
    """
    if sys.platform == "win32":
        raise InputError(
            "a search needs Linux or macOS, got Windows; run it under WSL (saved models load and predict on Windows, too)"
        )


def _version() -> str:
    from importlib.metadata import version

    return f"frostline {version('frostline')}"


def _silence_broken_output() -> bool:
    """Tell whether standard output or error takes nothing any more; from then on what goes there is dropped."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None or _takes_output(stream):
            continue
        with suppress(OSError):  # a stand-in has no descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return True
    return False


def _takes_output(stream: TextIO) -> bool:
    try:
        print(file=stream, flush=True)  # flushing alone would tell nothing of what was dropped
    except OSError:
        return False
    return True


def _never_fail_at_a_character() -> None:
    """Escape what the terminal lacks; where the system names no encoding but ASCII, take input for UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, TextIOWrapper) and codecs.lookup(sys.stdin.encoding).name == "ascii":
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")


def _without_passwords(text: str) -> str:
    """Hide passwords of URLs that were given in the wrong place, and are quoted in an error."""
    text = re.sub(r"(://[^:/@\s]*):[^\s'\"]*@", r"\1:***@", text)
    return re.sub(r"([?&]\w*(?:pass|pwd)\w*=)[^&\s'\"]*", r"\1***", text, flags=re.IGNORECASE)
