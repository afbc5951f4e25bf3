"""Outputs that are live: a widget while there is something to follow, then a picture that stays in the saved file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import anywidget
import ipywidgets
import traitlets

from taskloom.notebook.cells import Cells, MimeBundle

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
KEPT_OPEN = 8  # a page that draws or reloads just when a run ends still finds its widget

OnMessage = Callable[[dict[str, Any], list[Any]], None]


class LiveWidget(anywidget.AnyWidget):
    """The base of live widgets, whose script and style come from `frontend.widget_source`.

    Its id as a widget is that of its output too: by it the page finds the output in a notebook that was saved and
    opened again while the run lasted.
    """

    output_id = traitlets.Unicode().tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)  # there is something to follow, and to stop
    stopping = traitlets.Bool(False).tag(sync=True)  # Stop was pressed
    picture = traitlets.Dict().tag(sync=True)  # what a file that is saved now holds in the widget's place


class LiveOutputs:
    """Opens the live outputs of a notebook, and closes their widgets when newer ones have ended.

    Parameters
    ----------
    cells : Cells
        Where outputs appear.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._layout: ipywidgets.Layout | None = None
        self._ended: deque[LiveWidget] = deque()

    def open(self, widget_class: type[LiveWidget], output_id: str, traits: Mapping[str, Any]) -> LiveWidget:
        """Open a widget. All share a layout, which is a widget too and would stay open when its owner is closed."""
        if self._layout is None:
            self._layout = ipywidgets.Layout()
        return widget_class(model_id=output_id, output_id=output_id, layout=self._layout, **traits)

    def retire(self, widget: LiveWidget) -> None:
        """Close the widget when enough others have been retired."""
        self._ended.append(widget)
        while len(self._ended) > KEPT_OPEN:
            self._ended.popleft().close()

    def close(self) -> None:
        """Close all, and follow the cells no more."""
        while self._ended:
            self._ended.popleft().close()
        if self._layout is not None:
            self._layout.close()
            self._layout = None
        self.cells.close()


class LiveOutput:
    """One live output, in the cell that is the newest when it is made. Its methods may be called in any thread.

    Parameters
    ----------
    outputs : LiveOutputs
    widget_class : subclass of `LiveWidget`
    stop : callable
        What the Stop button does.
    on_message : callable, optional
        Called as ``on_message(content, buffers)`` with whatever else the page sends.
    """

    def __init__(
        self,
        outputs: LiveOutputs,
        widget_class: type[LiveWidget],
        stop: Callable[[], None],
        on_message: OnMessage | None = None,
    ) -> None:
        self._outputs = outputs
        self._widget_class = widget_class
        self._stop = stop
        self._on_message = on_message
        self._cell = outputs.cells.newest
        self._id = uuid4().hex  # of the output and the widget in it
        self._widget: LiveWidget | None = None

    def show(self, picture: MimeBundle | None = None, **traits: Any) -> None:
        """Send traits to the page, in one message; the first call puts the widget there.

        `picture` is what a file that is saved now holds, which needs not be sent each time.
        """
        if picture is not None:
            traits["picture"] = picture
        self._cell.call(self._open if self._widget is None else self._change, traits)

    def send(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send the page something of the view's own."""
        if self._widget is not None:
            self._cell.call(self._widget.send, content, buffers)

    def finish(self, picture: MimeBundle, **traits: Any) -> None:
        """Put the picture in the widget's place: a saved widget shows nothing without its kernel."""
        if self._widget is not None:
            self._cell.call(self._finish, self._widget, picture, traits)
            self._widget = None

    def _open(self, traits: dict[str, Any]) -> None:
        self._widget = widget = self._outputs.open(self._widget_class, self._id, traits)
        answer_on_subshell(widget.comm)
        widget.on_msg(self._receive)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._id}
        text = widget.picture.get("text/plain", "")
        self._outputs.cells.display(self._cell, self._id, {WIDGET_MIME: view, "text/plain": text})

    def _change(self, traits: dict[str, Any]) -> None:
        if self._widget is not None:
            set_traits(self._widget, traits)

    def _finish(self, widget: LiveWidget, picture: MimeBundle, traits: dict[str, Any]) -> None:
        set_traits(widget, {**traits, "picture": picture, "running": False, "stopping": False})
        cells = self._outputs.cells
        cells.update(
            cells.newest, self._id, picture
        )  # nobody listens any more to what is said of a cell that has ended
        self._outputs.retire(widget)

    def _receive(self, widget: LiveWidget, content: dict[str, Any], buffers: list[Any]) -> None:
        if content.get("type") == "stop":
            if widget.running:
                widget.stopping = True
                self._stop()
        elif self._on_message is not None:
            self._on_message(content, buffers)


def set_traits(widget: LiveWidget, traits: Mapping[str, Any]) -> None:
    """Change several traits with one message."""
    with widget.hold_sync():
        for name, value in traits.items():
            setattr(widget, name, value)


def answer_on_subshell(comm: Any) -> None:
    """Let clicks be handled while the cell is busy.

    The page sends them to a subshell for that, but ipykernel 7.4 moves them back to the thread that created the
    widget's comm, where they would wait until the cell ends.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
