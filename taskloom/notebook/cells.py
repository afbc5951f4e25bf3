"""Which cell is running, and how to show something in it from another thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, NamedTuple

from IPython.core.interactiveshell import InteractiveShell

from taskloom.bus import begin_burst

Header = dict[str, Any]
MimeBundle = dict[str, Any]


def in_kernel(shell: InteractiveShell) -> bool:
    """Whether output goes to Jupyter messages and not to a terminal."""
    return hasattr(shell.display_pub, "pub_socket")


class Cell(NamedTuple):
    """A cell that was run: the header of its request, and the context variables it ran with."""

    request: Header
    context: Context

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function, in any thread, that uses widgets: ipykernel 7.0 looks for the request in the context."""
        self.context.copy().run(function, *arguments)  # a copy: two threads may not be in one context


class Cells:
    """Remembers the newest cell, so that its output area can be written to at any later time.

    IPython's ``display`` asks the calling thread for its cell, and the thread that draws has none: ipykernel 6 and 7
    would each guess, and a click in a widget changes what they guess.

    Parameters
    ----------
    shell : InteractiveShell
        A kernel's shell, see `in_kernel`.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._publisher: Any = shell.display_pub  # ipykernel's own kind of DisplayPublisher
        self._remember()
        shell.events.register("pre_run_cell", self._begin)

    def close(self) -> None:
        """Stop listening to the shell."""
        self._shell.events.unregister("pre_run_cell", self._begin)

    def _begin(self, _info: object) -> None:
        self._remember()
        begin_burst()  # futures that this cell submits are shown here, not with those of an earlier one

    def _remember(self) -> None:
        self.newest = Cell(dict(self._publisher.parent_header), copy_context())

    def display(self, cell: Cell, display_id: str, data: MimeBundle) -> None:
        """Append an output to `cell`."""
        self._publish("display_data", cell, display_id, data)

    def update(self, cell: Cell, display_id: str, data: MimeBundle) -> None:
        """Replace the output that `display` made."""
        self._publish("update_display_data", cell, display_id, data)

    def _publish(self, kind: str, cell: Cell, display_id: str, data: MimeBundle) -> None:
        publisher = self._publisher
        content = {"data": data, "metadata": {}, "transient": {"display_id": display_id}}
        publisher.session.send(publisher.pub_socket, kind, content, parent=cell.request, ident=publisher.topic)
