"""Outputs that are live: a widget for the page, and a picture for the file that is saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from threading import RLock
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
    opened again in the meantime.
    """

    output_id = traitlets.Unicode().tag(sync=True)
    live = traitlets.Bool(True).tag(sync=True)  # until a picture takes its place for good
    running = traitlets.Bool(False).tag(sync=True)  # there is a run to follow, and to stop
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

    The cell has the widget while a run lasts, whoever watches, and for as long as a page says that it is there to show
    it. In between it has the picture: a notebook that is executed by a program, with no page, keeps that one.

    Parameters
    ----------
    outputs : LiveOutputs
    widget_class : subclass of `LiveWidget`
    stop : callable, optional
        What the Stop button does.
    on_message : callable, optional
        Called as ``on_message(content, buffers)`` with whatever else the page sends.
    """

    def __init__(
        self,
        outputs: LiveOutputs,
        widget_class: type[LiveWidget],
        stop: Callable[[], None] | None = None,
        on_message: OnMessage | None = None,
    ) -> None:
        self._outputs = outputs
        self._widget_class = widget_class
        self._stop = stop
        self._on_message = on_message
        self._cell = outputs.cells.newest
        self._id = uuid4().hex  # of the output and the widget in it
        self._widget: LiveWidget | None = None
        self._has_page = False
        self._in_cell: MimeBundle | None = None
        self._lock = RLock()  # pages answer in other threads than those that draw

    def show(self, picture: MimeBundle | None = None, **traits: Any) -> None:
        """Send traits to the page, in one message; the first call makes the output appear, and needs a picture.

        `picture` is what a file that is saved now holds, which needs not be sent each time.
        """
        if picture is not None:
            traits["picture"] = picture
        with self._lock:
            self._cell.call(self._open if self._widget is None else self._change, traits)

    def send(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send the page something of the view's own."""
        if self._widget is not None:
            self._cell.call(self._widget.send, content, buffers)

    def finish(self, picture: MimeBundle, **traits: Any) -> None:
        """Put the picture in the widget's place: a saved widget shows nothing without its kernel."""
        with self._lock:
            if self._widget is not None:
                self._has_page = False
                ended = {"picture": picture, "live": False, "running": False, "stopping": False}
                self._cell.call(self._change, {**traits, **ended})
                self._outputs.retire(self._widget)
                self._widget = None

    def _open(self, traits: dict[str, Any]) -> None:
        self._widget = widget = self._outputs.open(self._widget_class, self._id, traits)
        answer_on_subshell(widget.comm)
        widget.on_msg(self._receive)
        self._in_cell = self._wanted(widget)
        self._outputs.cells.display(self._cell, self._id, self._in_cell)

    def _change(self, traits: dict[str, Any]) -> None:
        if self._widget is not None:
            set_traits(self._widget, traits)
            self._settle(self._widget)

    def _settle(self, widget: LiveWidget) -> None:
        """Have in the cell what belongs there now."""
        wanted = self._wanted(widget)
        if wanted != self._in_cell and not (WIDGET_MIME in wanted and WIDGET_MIME in (self._in_cell or ())):
            self._in_cell = wanted
            cells = self._outputs.cells
            cells.update(cells.newest, self._id, wanted)  # nobody listens to what is said of a cell that has ended

    def _wanted(self, widget: LiveWidget) -> MimeBundle:
        if not (widget.running or self._has_page):
            return widget.picture
        view = {"version_major": 2, "version_minor": 0, "model_id": self._id}
        return {WIDGET_MIME: view, "text/plain": widget.picture.get("text/plain", "")}

    def _receive(self, widget: LiveWidget, content: dict[str, Any], buffers: list[Any]) -> None:
        match content.get("type"):
            case "here":
                with self._lock:
                    if widget.live:
                        self._has_page = True
                        self._settle(widget)
            case "stop":
                if widget.running and self._stop is not None:
                    widget.stopping = True
                    self._stop()
            case _:
                if self._on_message is not None:
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
