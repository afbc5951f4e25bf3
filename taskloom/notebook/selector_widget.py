"""The selectors that stand in a notebook, all in step with what is in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import traitlets

from taskloom.errors import TaskloomError
from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.frontend import widget_source
from taskloom.notebook.live_output import LiveOutput, LiveOutputs, LiveWidget
from taskloom.notebook.selector import AUTO, Selection, SelectorState, value_of
from taskloom.notebook.selector_picture import selector_html, selector_text

KEPT_LIVE = 4  # selectors; older ones become pictures


class SelectorWidget(LiveWidget):
    """Draws the state it is given, and sends what is clicked."""

    _esm = widget_source("scheduler", "js")
    _css = widget_source("scheduler", "css")
    selector = traitlets.Dict().tag(sync=True)  # a SelectorState
    error_text = traitlets.Unicode().tag(sync=True)


class Selectors:
    """The live selectors of a notebook, which all change the same selection.

    Parameters
    ----------
    selection : Selection
    outputs : LiveOutputs
    """

    def __init__(self, selection: Selection, outputs: LiveOutputs) -> None:
        self._selection = selection
        self._outputs = outputs
        self._live: list[LiveOutput] = []

    def open(self) -> None:
        """Put one more into the newest cell."""
        state = self._selection.state()
        output = LiveOutput(self._outputs, SelectorWidget, on_message=self._receive)
        output.show(_picture(state), selector=state)
        self._live.append(output)
        while len(self._live) > KEPT_LIVE:
            self._live.pop(0).finish(_picture(state))

    def update(self, error_text: str = "") -> None:
        """Show what is in force now, in all of them."""
        state = self._selection.state()
        for output in self._live:
            output.show(_picture(state), selector=state, error_text=error_text)

    def close(self) -> None:
        """Turn all into pictures."""
        picture = _picture(self._selection.state())
        while self._live:
            self._live.pop().finish(picture)

    def _receive(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        action = self._actions.get(str(content.get("type")))
        if action is None:
            return
        try:
            action(self, content)
        except TaskloomError as error:
            self.update(str(error))
        else:
            self.update()

    def _choose(self, content: dict[str, Any]) -> None:
        self._selection.choose({"scheduler": str(content.get("engine", AUTO))})

    def _set(self, content: dict[str, Any]) -> None:
        self._selection.choose({str(content.get("name")): value_of(str(content.get("value", "")))})

    def _undo(self, _content: dict[str, Any]) -> None:
        self._selection.undo()

    _actions: ClassVar[dict[str, Callable[[Selectors, dict[str, Any]], None]]] = {
        "choose": _choose,
        "set": _set,
        "undo": _undo,
    }


def _picture(state: SelectorState) -> MimeBundle:
    return {"text/html": selector_html(state), "text/plain": selector_text(state)}
