"""What a fork of this process has of clusters: copies, without the threads that serve them. It gives them up."""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet

WHY = "it belongs to another process, of which this one is a fork"


class Owned(Protocol):
    """What belongs to one process."""

    def let_go(self) -> None:
        """Be of no use any more, in a fork, where nobody else runs and any lock may be held for ever."""


_owned: WeakSet[Any] = WeakSet()


def give_up_in_forks(it: Owned) -> None:
    """Have it let go in each fork of this process."""
    _owned.add(it)


def _let_go_in_child() -> None:
    for it in list(_owned):
        it.let_go()
    _owned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
