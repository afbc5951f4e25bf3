"""The cell of a notebook whose code is running, so that what is printed for it later appears there as well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, NamedTuple


class OutputCell(NamedTuple):
    """A cell, by the header of the request that runs it."""

    header: dict[str, Any]

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, in any thread: what it prints appears in this cell, even if another one runs by now."""
        copy_context().run(self._run, function, args)

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        for stream in (sys.stdout, sys.stderr):
            header = getattr(stream, "_parent_header", None)  # of ipykernel's streams, 6.29 to 7.x
            if isinstance(header, ContextVar):
                header.set(self.header)
        function(*args)


def output_cell() -> OutputCell | None:
    """The cell that the calling thread prints in; None outside of notebooks, and where output is redirected."""
    header = getattr(sys.stdout, "parent_header", None)
    return OutputCell(header) if header else None
