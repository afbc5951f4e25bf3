"""``%dashboard``: all figures of the runs, live."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.views.headline import headline

if TYPE_CHECKING:
    from taskloom.notebook.dashboard_server import DashboardServer
    from taskloom.notebook.live_output import LiveOutputs

MOST_OPEN = 3  # dashboards that follow runs: each costs time in every run


class _Open(Protocol):
    def flush(self) -> None: ...
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
        self._server: DashboardServer | None = None
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.dashboard, "line", "dashboard")
        shell.events.register("post_run_cell", self._flush)

    def close(self) -> None:
        """Turn the dashboards into pictures, end the server, and take the magic away."""
        self._shell.events.unregister("post_run_cell", self._flush)
        self._shell.magics_manager.magics["line"].pop("dashboard", None)
        self._close_all_but(0)
        if self._server is not None:
            self._server.close()

    def dashboard(self, line: str) -> None:
        """Show what runs do while they do it: tasks by worker, progress, CPU and memory, and a profile.

        ::

            %dashboard           in this cell: the last run, and then each one that follows
            %dashboard --serve   the same in a browser tab: prints its link, which only this computer answers

        It can be opened before, during or after a run.
        """
        match line.split():
            case []:
                self._show()
            case ["--serve"]:
                self._serve()
            case _:
                raise UsageError(f"%dashboard takes --serve or nothing behind it, not {line.strip()!r}.")

    def _serve(self) -> None:
        from taskloom.notebook.dashboard_server import DashboardServer  # Bokeh takes a while

        if self._server is None:
            self._server = DashboardServer()
        print(f"Dashboard: {self._server.link}")

    def _show(self) -> None:
        if self._outputs is None:
            print(headline(bus.last_run()))
            return

        from taskloom.notebook.dashboard_widget import LiveDashboard  # Bokeh takes a while

        self._close_all_but(MOST_OPEN - 1)
        live = LiveDashboard(self._outputs, bus.last_run())
        self._open.append((live, bus.subscribe(live)))

    def _flush(self, _result: object) -> None:
        """Show the end of a cell's last run before the cell ends: a program that executes notebooks asks no longer."""
        for live, _ in self._open:
            live.flush()

    def _close_all_but(self, kept: int) -> None:
        while len(self._open) > kept:
            live, subscription = self._open.pop(0)
            subscription.close()
            live.close()
