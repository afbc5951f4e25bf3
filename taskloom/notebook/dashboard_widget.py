"""The dashboard in a cell: a Bokeh page that follows one run after another, without a port and without an echo."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.frontend import widget_source
from taskloom.notebook.live_output import LiveOutput, LiveOutputs, LiveWidget
from taskloom.views.figures.dashboard import Dashboard
from taskloom.views.figures.page import Page, library
from taskloom.views.figures.painter import PaintedRun, can_be_stopped
from taskloom.views.headline import headline
from taskloom.views.stream_picture import picture_html

if TYPE_CHECKING:
    from taskloom.bus import Run

PICTURE_EVERY = 3.0  # seconds: drawing it takes longer than an update, and only a save in mid-run needs it


class BokehWidget(LiveWidget):
    """Shows a document that comes in messages: the whole when the page is ready, and changes from then on."""

    _esm = widget_source("bokeh", "js")
    _css = widget_source("bokeh", "css")


class LiveDashboard(PaintedRun):
    """The dashboard of the newest cell.

    Parameters
    ----------
    outputs : LiveOutputs
    run : Run or None
        What to show until the next run starts.
    """

    def __init__(self, outputs: LiveOutputs, run: Run | None) -> None:
        self._lock = threading.Lock()  # of the document: the painter changes it, and pages ask in other threads
        self._dashboard = Dashboard()
        self._page = Page(self._dashboard.root)
        self._ready = False  # whether a page has the document
        self._pictured = 0.0
        self._output = LiveOutput(outputs, BokehWidget, stop=self.stop, on_message=self._answer)
        self._dashboard.show(run)
        self._output.show(self._picture(), running=can_be_stopped(run))
        super().__init__(run)

    def flush(self) -> None:
        """Show now what has not been shown yet."""
        self._painter.flush()

    def close(self) -> None:
        """Leave a picture."""
        self._painter.close()
        with self._lock:
            self._dashboard.show(self._run)
            self._output.finish(self._picture())

    def _draw(self) -> None:
        """Send what happened: one message, and another when a run begins or ends."""
        with self._lock:
            run, before = self._run, self._dashboard.run
            running = run is not None and run.status == "running"  # if it ends from here on, there is another drawing
            self._dashboard.show(run)
            self._send_changes()
            is_due = not running or monotonic() - self._pictured > PICTURE_EVERY
            traits = {"running": can_be_stopped(run)}
            if not (running and run is before):
                traits["stopping"] = False
            self._output.show(self._picture() if is_due else None, **traits)

    def _answer(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        """Give a page that is ready the document, and BokehJS if it has none."""
        if content.get("type") != "ready":
            return
        with self._lock:
            self._send_changes()  # other pages have the document already, and it will hold them
            self._ready = True
            wanted = bool(content.get("library"))
            message = {"type": "document", "library": wanted, "document": self._page.document()}
            self._output.send({**message, **self._about()}, [library()] if wanted else None)

    def _send_changes(self) -> None:
        changes = self._page.patch()
        if changes is not None and self._ready:
            patch, ids, buffers = changes
            message = {"type": "patch", "patch": patch, "buffers": ids, **self._about()}
            self._output.send(message, buffers)

    def _about(self) -> dict[str, Any]:
        run = self._dashboard.run
        return {"headline": headline(run), "run": None if run is None else run.id}

    def _picture(self) -> MimeBundle:
        self._pictured = monotonic()
        run = self._dashboard.run
        return {"text/html": picture_html(run), "text/plain": headline(run)}
