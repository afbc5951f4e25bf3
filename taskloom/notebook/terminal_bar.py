"""The progress bar of plain IPython: one line of text that is written over."""

from __future__ import annotations

import shutil
from typing import TextIO

from taskloom.notebook.progress_bars import Cancellable
from taskloom.views.progress import ProgressState, text_line

CLEAR_LINE = "\r\x1b[2K"


class TerminalLine:
    """The terminal's last line, which one bar at a time may use; silent where the stream is no terminal.

    Parameters
    ----------
    stream : text file
        Usually ``sys.stdout``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._owner: TerminalBar | None = None

    def new_bar(self, run: Cancellable) -> TerminalBar:
        """Make the bar of a run."""
        return TerminalBar(self)

    def write(self, bar: TerminalBar, state: ProgressState) -> None:
        """Draw over the line, unless another bar has it."""
        if self._owner is None:
            self._owner = bar
        if self._owner is bar:
            self._print(state, end="")

    def leave(self, bar: TerminalBar, state: ProgressState) -> None:
        """Write a line that stays, above the bar that may be there."""
        if self._owner is bar:
            self._owner = None
        self._print(state, end="\n")

    def _print(self, state: ProgressState, end: str) -> None:
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(CLEAR_LINE + text_line(state, width) + end)
            self._stream.flush()


class TerminalBar:
    """One run's use of the `TerminalLine`."""

    def __init__(self, line: TerminalLine) -> None:
        self._line = line

    def draw(self, state: ProgressState) -> None:
        """Show the state."""
        self._line.write(self, state)

    def finish(self, state: ProgressState) -> None:
        """Leave the last state on a line of its own."""
        self._line.leave(self, state)
