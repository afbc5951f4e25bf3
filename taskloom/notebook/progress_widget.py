"""The progress bar of a notebook, in the cell that started the run."""

from __future__ import annotations

import traitlets

from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.frontend import widget_source
from taskloom.notebook.live_output import LiveOutput, LiveOutputs, LiveWidget
from taskloom.notebook.progress_bars import Cancellable
from taskloom.views.progress import ProgressState, static_html, text_line


class ProgressWidget(LiveWidget):
    """Draws the state it is given; one message for each."""

    _esm = widget_source("progress", "js")
    _css = widget_source("progress", "css")
    progress = traitlets.Dict().tag(sync=True)  # a ProgressState


class NotebookBar:
    """One run's bar in the cell that started it.

    Parameters
    ----------
    run : Run, or what is stopped like one
        Its `cancel` is called by the bar's Stop button.
    outputs : LiveOutputs
    """

    def __init__(self, run: Cancellable, outputs: LiveOutputs) -> None:
        self._output = LiveOutput(outputs, ProgressWidget, stop=run.cancel)

    def draw(self, state: ProgressState) -> None:
        """Send the state to the page; the first time, put the widget there."""
        self._output.show(_picture(state), progress=state, running=True)

    def finish(self, state: ProgressState) -> None:
        """Put a picture in the widget's place."""
        self._output.finish(_picture(state), progress=state)


def _picture(state: ProgressState) -> MimeBundle:
    """Draw what stays in the file: at the end of the run, or when the notebook is saved before."""
    return {"text/html": static_html(state), "text/plain": text_line(state)}
