"""``%dashboard``: all figures of the runs, live."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.views.headline import headline

if TYPE_CHECKING:
    from taskloom.notebook.live_output import LiveOutputs

MOST_OPEN = 3  # dashboards that follow runs: each costs time in every run


class _Open(Protocol):
    def close(self) -> None: ...


class DashboardMagic:
    """The dashboards of one shell and the magic that opens them.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs or None
        None in a terminal, where the dashboard is a line of text.
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs | None) -> None:
        self._shell = shell
        self._outputs = outputs
        self._open: list[tuple[_Open, bus.Subscription]] = []
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.dashboard, "line", "dashboard")

    def close(self) -> None:
        """Turn the dashboards into pictures, and take the magic away."""
        self._shell.magics_manager.magics["line"].pop("dashboard", None)
        self._close_all_but(0)

    def dashboard(self, line: str) -> None:
        """Show what runs do while they do it: tasks by worker, progress, CPU and memory, and a profile.

        ::

            %dashboard       in this cell: the last run, and then each one that follows

        It can be opened before, during or after a run.
        """
        if line.strip():
            raise UsageError(f"%dashboard takes nothing behind it, not {line.strip()!r}.")
        if self._outputs is None:
            print(headline(bus.last_run()))
            return

        from taskloom.notebook.dashboard_widget import LiveDashboard  # Bokeh takes a while

        self._close_all_but(MOST_OPEN - 1)
        live = LiveDashboard(self._outputs, bus.last_run())
        self._open.append((live, bus.subscribe(live)))

    def _close_all_but(self, kept: int) -> None:
        while len(self._open) > kept:
            live, subscription = self._open.pop(0)
            subscription.close()
            live.close()
