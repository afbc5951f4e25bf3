"""The progress bar of a notebook: a widget while the run lasts, then a picture that stays in the saved file."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anywidget
import ipywidgets
import traitlets

from taskloom.notebook.cells import Cells, MimeBundle
from taskloom.notebook.frontend import widget_source
from taskloom.views.progress import ProgressState, static_html, text_line

if TYPE_CHECKING:
    from taskloom.bus import Run

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
KEPT_OPEN = 8  # a page that draws or reloads just when a run ends still finds its widget


class ProgressWidget(anywidget.AnyWidget):
    """Draws the state it is given; one message for each.

    Its id as a widget is that of its output too: by it the page finds the output in a notebook that was saved and
    opened again while the run lasted.
    """

    _esm = widget_source("progress", "js")
    _css = widget_source("progress", "css")
    output_id = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)  # a ProgressState with the items that `_shown` adds


class ProgressWidgets:
    """Makes the bars of a notebook and closes their widgets when newer ones have ended.

    Parameters
    ----------
    cells : Cells
        Where bars appear.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._layout: ipywidgets.Layout | None = None
        self._ended: deque[ProgressWidget] = deque()

    def new_bar(self, run: Run) -> NotebookBar:
        """Make the bar of a run that the newest cell started."""
        return NotebookBar(run, self)

    def open(self, output_id: str, progress: dict[str, Any]) -> ProgressWidget:
        """Open a widget. All share a layout, which is a widget too and would stay open when its owner is closed."""
        if self._layout is None:
            self._layout = ipywidgets.Layout()
        return ProgressWidget(model_id=output_id, output_id=output_id, progress=progress, layout=self._layout)

    def retire(self, widget: ProgressWidget) -> None:
        """Close the widget when enough others have been retired."""
        self._ended.append(widget)
        while len(self._ended) > KEPT_OPEN:
            self._ended.popleft().close()

    def close(self) -> None:
        """Close all."""
        while self._ended:
            self._ended.popleft().close()
        if self._layout is not None:
            self._layout.close()
            self._layout = None


class NotebookBar:
    """One run's bar in the cell that started it.

    Parameters
    ----------
    run : Run
        Its `cancel` is called by the bar's Stop button.
    widgets : ProgressWidgets
        Opens and closes the widget.
    """

    def __init__(self, run: Run, widgets: ProgressWidgets) -> None:
        self._run = run
        self._widgets = widgets
        self._cell = widgets.cells.newest
        self._id = uuid4().hex  # of the output and the widget in it
        self._widget: ProgressWidget | None = None
        self._stopping = False

    def draw(self, state: ProgressState) -> None:
        """Send the state to the page; the first time, put the widget there."""
        self._cell.call(self._draw, state)

    def finish(self, state: ProgressState) -> None:
        """Put a picture in the widget's place. A saved widget shows nothing without its kernel."""
        if self._widget is not None:
            self._cell.call(self._finish, state, self._widget)

    def _draw(self, state: ProgressState) -> None:
        if self._widget is not None:
            self._widget.progress = _shown(state, stopping=self._stopping)
            return
        self._widget = widget = self._widgets.open(self._id, _shown(state))
        _answer_on_subshell(widget.comm)
        widget.on_msg(self._on_message)
        view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        data = {WIDGET_MIME: view, "text/plain": text_line(state)}
        self._widgets.cells.display(self._cell, self._id, data)

    def _finish(self, state: ProgressState, widget: ProgressWidget) -> None:
        widget.progress = _shown(state)
        self._widgets.cells.update(self._cell, self._id, _picture(state))
        self._widgets.retire(widget)

    def _on_message(self, widget: ProgressWidget, content: object, _buffers: object) -> None:
        if content == {"type": "stop"} and widget.progress["status"] == "running":
            self._stopping = True
            widget.progress = {**widget.progress, "stopping": True}
            self._run.cancel()


def _shown(state: ProgressState, stopping: bool = False) -> dict[str, Any]:
    return {**state, "stopping": stopping, "picture": _picture(state)}


def _picture(state: ProgressState) -> MimeBundle:
    """Draw what stays in the file: at the end of the run, or when the notebook is saved before."""
    return {"text/html": static_html(state), "text/plain": text_line(state)}


def _answer_on_subshell(comm: Any) -> None:
    """Let clicks be handled while the cell is busy.

    The page sends them to a subshell for that, but ipykernel 7.4 moves them back to the thread that created the
    widget's comm, where they would wait until the cell ends.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
