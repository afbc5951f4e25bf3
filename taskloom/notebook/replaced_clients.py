"""At the end of a cell, clients are closed that made their own cluster, and that later ones have replaced."""

from __future__ import annotations

import re
import sys
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

_OF_OUTPUT = re.compile(r"_{1,3}|_\d+")  # the names under which a shell keeps what cells have shown


class ReplacedClients:
    """Sees to it in one shell, until `close`. That a cell has shown a client does not keep it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        shell.events.register("post_run_cell", self._after_cell)

    def close(self) -> None:
        self._shell.events.unregister("post_run_cell", self._after_cell)

    def _after_cell(self, _result: object = None) -> None:
        replaced = sys.modules.get("taskloom.engines.cluster.client.replaced")
        if replaced is not None:  # else there has been no client yet
            replaced.close_replaced(self._shown)

    def _shown(self, value: Any) -> int:
        """How many references to an object the shell has of its own accord."""
        shell = self._shell
        places: tuple[dict[Any, Any], ...] = (shell.user_ns, shell.user_ns_hidden, vars(shell.displayhook))
        named = [known for names in places for name, known in names.items() if _OF_OUTPUT.fullmatch(name)]
        outputs = shell.user_ns.get("_oh", {}).values()
        found = sum(known is value for known in (*named, *outputs))
        last = shell.last_execution_result
        return found + (last is not None and last.result is value)
