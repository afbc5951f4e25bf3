"""``%progress on|off``: whether runs show a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus, config
from taskloom.graph import did_you_mean
from taskloom.notebook.progress_bars import NewBar, ProgressBars
from taskloom.notebook.terminal_bar import TerminalLine
from taskloom.views.labels import one_line

if TYPE_CHECKING:
    from taskloom.bus import Run
    from taskloom.notebook.live_output import LiveOutputs


class ProgressMagic:
    """The bars of one shell and the magic that switches them.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs or None
        In a Jupyter kernel bars are widgets, in a terminal they are text, elsewhere there are none.
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs | None) -> None:
        self._shell = shell
        self._choice: config.Assignment | None = None
        self._bars = ProgressBars(bar_drawing(outputs))
        self._subscription = bus.subscribe(self._bars)
        self._has_cells = outputs is not None
        if self._has_cells:
            shell.events.register("post_run_cell", self._end_of_cell)
            bus.presenters["progress"] = self._bars.show
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.progress, "line", "progress")

    def leave_out(self, run: Run) -> None:
        """Draw no bar for a run that another view shows from its start."""
        self._bars.leave_out(run)

    def close(self) -> None:
        """Draw no more bars, and take the magic and its choice away."""
        self._shell.magics_manager.magics["line"].pop("progress", None)
        self._subscription.close()
        if self._has_cells:
            self._shell.events.unregister("post_run_cell", self._end_of_cell)
            del bus.presenters["progress"]
        self._bars.close()
        self._forget_choice()

    def progress(self, line: str) -> None:
        """Show a progress bar for each run, or do not.

        ::

            %progress on     a run that lasts longer than 0.3 s shows a bar in the cell that started it
            %progress off    no bars
            %progress        say which of the two

        The same as the setting ``notebook.progress``; the delay is ``notebook.progress_delay``.
        """
        wish = line.strip().lower()
        if wish in ("on", "off"):
            self._forget_choice()
            self._choice = config.Assignment({"notebook.progress": wish == "on"}, source="%progress")
        elif wish:
            shown = one_line(line.strip(), 80)
            raise UsageError(f"%progress takes on or off, not {shown!r}.{did_you_mean(wish, ('off', 'on'))}")
        else:
            print(f"Progress bars are {'on' if config.get('notebook.progress') else 'off'}.")

    def _end_of_cell(self, _result: object) -> None:
        self._bars.end_of_cell()

    def _forget_choice(self) -> None:
        if self._choice is not None:
            self._choice.undo()
            self._choice = None


def bar_drawing(outputs: LiveOutputs | None) -> NewBar:
    """How bars are drawn."""
    if outputs is None:
        return TerminalLine(sys.stdout).new_bar

    from taskloom.notebook.progress_widget import NotebookBar

    return partial(NotebookBar, outputs=outputs)
