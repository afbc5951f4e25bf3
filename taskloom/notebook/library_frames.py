"""Frames of libraries that call the user's functions: between a task and such a function nobody wants to see them."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import CO_OPTIMIZED
from types import FrameType

from taskloom.graph import foreign


def is_of_library(module: str | None) -> bool:
    """Whether a module is of taskloom, or of a library the collections of which it runs.

    >>> is_of_library("dask.bag.core"), is_of_library("__main__")
    (True, False)
    """
    return str(module).partition(".")[0] in {"taskloom", *foreign}


def hide_library_frames(frames: Sequence[FrameType]) -> None:
    """Hide those frames of a traceback, oldest first, that lead to a function of somebody else's.

    IPython's tracebacks and debugger leave them out, and count them, as they do with all that hide themselves;
    the debugger's ``skip_hidden no`` shows them.
    """
    theirs = [is_of_library(frame.f_globals.get("__name__")) for frame in frames]
    last = max((place for place, library in enumerate(theirs) if not library), default=0)
    for frame, library in list(zip(frames, theirs, strict=True))[:last]:
        if library and frame.f_code.co_flags & CO_OPTIMIZED:  # else its locals are a module's names
            frame.f_locals["__tracebackhide__"] = True
