"""A Bokeh document for a page that only shows it: what it holds now, and what changed since."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.protocol import Protocol
from bokeh.settings import settings

if TYPE_CHECKING:
    from bokeh.models.ui import UIElement


class Page:
    """A document with one root, whose changes are collected.

    Parameters
    ----------
    root : a Bokeh model.
    """

    def __init__(self, root: UIElement) -> None:
        self._document = Document()
        self._document.add_root(root)
        self._changes: list[Any] = []
        self._document.on_change_dispatch_to(self)

    def _document_patched(self, event: Any) -> None:
        """Collect a change: called by Bokeh."""
        self._changes.append(event)

    def document(self) -> str:
        """The whole document as it is now, as JSON."""
        return serialize_json(self._document.to_json(deferred=False))

    def patch(self) -> tuple[str, list[str], list[bytes]] | None:
        """What changed since the last call, as JSON with its buffers' ids and the buffers; None if nothing did."""
        changes, self._changes = self._changes, []
        if not changes:
            return None
        message: Any = Protocol().create("PATCH-DOC", changes)
        buffers = message.buffers
        return message.content_json, [buffer.id for buffer in buffers], [buffer.to_bytes() for buffer in buffers]


@cache
def library() -> bytes:
    """BokehJS as it lies in the installed package."""
    return (settings.bokehjs_path() / "js" / "bokeh.min.js").read_bytes()
