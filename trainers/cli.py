"""How every command of the project starts, and how it tells its user what went wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from trainers.config import checked_device
from trainers.errors import FitError, InputError, printable

EXIT_INPUT = 2
"""Exit code when something that the user gave cannot be used, or makes a fit fail."""


def _is_device(_: Any, name: str | None) -> None:
    if name not in (None, "auto"):
        checked_device(str(name))


DEVICE = Parameter(validator=_is_device)
"""For options that name a device: what can be none is refused at once."""


def launch(command: Callable[..., int], *, name: str, argv: Sequence[str] | None) -> int:
    """Parse the command line, run ``command`` and return its exit code.

    An ``InputError``, or a fit that failed, ends as one line on standard error and exit code 2; ``--debug``
    shows its traceback. That line shows no password of a URL, and a terminal finds nothing in it to obey.

    Args:
        command: Its keyword-only parameters become flags, its docstring the help.
        name: Module path, shown as ``python -m name``.
        argv: Arguments; None takes the process's own.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    app = App(
        name=f"python -m {name}", help_format="plaintext", result_action="return_value", version_flags=[]
    )
    app.default(command)

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
            print("error:", printable(_without_passwords(str(error))), file=sys.stderr)  # noqa: T201
            return EXIT_INPUT

    return int(app.meta(arguments) or 0)


def _without_passwords(text: str) -> str:
    """Hide passwords of URLs that were given in the wrong place, and are quoted in an error."""
    text = re.sub(r"(://[^:/@\s]*):[^\s'\"]*@", r"\1:***@", text)
    return re.sub(r"([?&]\w*(?:pass|pwd)\w*=)[^&\s'\"]*", r"\1***", text, flags=re.IGNORECASE)
