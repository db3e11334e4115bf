"""A few lines in a notebook's cell that are redrawn; rich's own need ipywidgets."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

REDRAW_SECONDS = 1.0
"""Each redraw is a message to the browser."""


class NotebookScreen:
    """Draws again every second, from a thread of its own, and leaves nothing at the end.

    Args:
        draw: Gives what is shown now.
    """

    def __init__(self, draw: Callable[[], RenderableType]) -> None:
        self._draw = draw
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)
        self._handle: Any = None

    def start(self) -> None:
        """Begin to show."""
        from IPython.display import display

        self._handle = display(self._html(), display_id=True)
        self._thread.start()

    def stop(self) -> None:
        """Wipe it."""
        from IPython.display import HTML

        self._ended.set()
        self._thread.join()
        self._handle.update(HTML(""))

    def _redraw(self) -> None:
        while not self._ended.wait(REDRAW_SECONDS):
            self._handle.update(self._html())

    def _html(self) -> Any:
        from IPython.display import HTML

        console = Console(file=io.StringIO(), record=True, width=110, force_jupyter=False)
        console.print(self._draw())
        return HTML(console.export_html(code_format="<pre>{code}</pre>", inline_styles=True))
