"""Outputs that stay live after their cell, for as long as the kernel lives: controls rather than views of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.live_output import WIDGET_MIME, LiveOutputs, LiveWidget, answer_on_subshell, set_traits


class StandingOutput:
    """A picture in the newest cell, which a page that can show widgets replaces by the live one.

    Where no page answers, as with ``nbconvert --execute``, the file keeps the picture.

    Parameters
    ----------
    outputs : LiveOutputs
    widget_class : subclass of `LiveWidget`
        Its script sends ``{"type": "ready"}`` when it is there.
    picture : dict
        MIME types and what they hold.
    on_message : callable
        Called with whatever else the page sends.
    traits : the widget's.
    """

    def __init__(
        self,
        outputs: LiveOutputs,
        widget_class: type[LiveWidget],
        picture: MimeBundle,
        on_message: Callable[[dict[str, Any]], None],
        **traits: Any,
    ) -> None:
        self._outputs = outputs
        self._cell = outputs.cells.newest
        self._id = uuid4().hex
        self._on_message = on_message
        outputs.cells.display(self._cell, self._id, picture)
        self._cell.call(self._open, widget_class, {**traits, "picture": picture})

    def _open(self, widget_class: type[LiveWidget], traits: dict[str, Any]) -> None:
        self._widget = self._outputs.open(widget_class, self._id, traits)
        answer_on_subshell(self._widget.comm)
        self._widget.on_msg(self._receive)

    def show(self, picture: MimeBundle, **traits: Any) -> None:
        """Send traits to the page, in one message."""
        self._cell.call(self._change, {**traits, "picture": picture})

    def finish(self) -> None:
        """Put the picture in the widget's place."""
        self._cell.call(self._change, {"running": False})
        self._outputs.cells.update(self._cell, self._id, self._widget.picture)
        self._outputs.retire(self._widget)

    def _change(self, traits: dict[str, Any]) -> None:
        set_traits(self._widget, traits)

    def _receive(self, widget: LiveWidget, content: dict[str, Any], _buffers: list[Any]) -> None:
        if content.get("type") != "ready":
            self._on_message(content)
        elif widget.running:
            view = {"version_major": 2, "version_minor": 0, "model_id": self._id}
            data = {WIDGET_MIME: view, "text/plain": widget.picture["text/plain"]}
            self._outputs.cells.update(self._cell, self._id, data)
