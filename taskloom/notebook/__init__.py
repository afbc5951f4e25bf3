"""taskloom in IPython and Jupyter: what ``%load_ext taskloom`` adds and ``%unload_ext taskloom`` takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class _Part(Protocol):
    def close(self) -> None: ...


_parts: list[_Part] = []


def load(shell: InteractiveShell) -> None:
    """Add the magics and views to a shell; does nothing if they are there."""
    if not _parts:
        from taskloom.notebook.debugger import Debugger
        from taskloom.notebook.progress_magic import ProgressMagic
        from taskloom.notebook.replay_magic import ReplayMagic

        _parts.append(ProgressMagic(shell))
        _parts.append(Debugger(shell))
        _parts.append(ReplayMagic(shell))


def unload(shell: InteractiveShell) -> None:
    """Take everything away that `load` added, and turn live views into pictures."""
    while _parts:
        _parts.pop().close()
