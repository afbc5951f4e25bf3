"""Cells that await something under a cell magic, which is a plain function and cannot wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell


class AwaitingCells:
    """Has the shell itself run cells that begin with ``%%name`` and await something at their top level.

    Such a cell runs as ``%name`` with the same options and then its own code, on the same lines as before. The line
    magic begins what the cell magic does around a cell, and ends it by `at_end_of_cell`.

    Parameters
    ----------
    shell : InteractiveShell
    name : of a magic for both lines and cells.
    """

    def __init__(self, shell: InteractiveShell, name: str) -> None:
        self._shell: Any = shell  # whose methods here carry no types
        self._name = name
        self._shell.input_transformers_cleanup.append(self._without_magic)

    def close(self) -> None:
        """Leave cells as they are."""
        self._shell.input_transformers_cleanup.remove(self._without_magic)

    def _without_magic(self, lines: list[str]) -> list[str]:
        first, _, options = lines[0].partition(" ") if lines else ("", "", "")
        if first.strip() != f"%%{self._name}":
            return lines
        code = "".join(lines[1:])
        if not self._shell.should_run_async(code, transformed_cell=self._shell.transform_cell(code)):
            return lines
        return [f"get_ipython().run_line_magic({self._name!r}, {options.strip()!r})\n", *lines[1:]]


def at_end_of_cell(shell: InteractiveShell, act: Callable[[Any], None]) -> None:
    """Call `act` once, when the cell that is running has ended, with its `ExecutionResult`.

    It comes before what others do then, such as draw bars: one that draws a run may say that it needs none.
    """

    def ended(result: Any) -> None:
        shell.events.unregister("post_run_cell", ended)
        act(result)

    shell.events.callbacks["post_run_cell"].insert(0, ended)
