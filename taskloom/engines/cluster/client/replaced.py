"""Clients with a cluster of their own, in whose place others have come: closed once nobody has them any more.

Who runs ``client = Client()`` again means the new one. A client is still meant as long as anything refers to it: a
name, a future of it, a call that waits. So references are counted, except those of the books that taskloom keeps; what
is asked about is in a list by itself meanwhile, as it depends on the interpreter what variables count for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskloom import config
from taskloom.engines.cluster.client import current

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

OF_A_CLIENT = 1  # in the book of open clients
OF_A_CLUSTER = 4  # its client's two, in the book of open clusters, and of what closes it at the end


def close_replaced(shown: Callable[[Any], int] = lambda value: 0) -> None:
    """Close those that nobody has, and their clusters.

    Parameters
    ----------
    shown : how many references to an object are there only because it was shown.
    """
    for box in current.replaced():
        if not _is_used(box, shown):
            box[0]._close_now()


def _is_used(box: list[Client], shown: Callable[[Any], int]) -> bool:
    if _references(box) > OF_A_CLIENT + config.references(box[0]) + shown(box[0]) or not box[0].is_idle:
        return True
    cluster: list[Any] = [box[0].cluster]
    return _references(cluster) > OF_A_CLUSTER + shown(cluster[0]) or cluster[0].is_used_beside(box[0])


def _references(box: list[Any]) -> int:
    """How many references there are to what is in a list, beside the list."""
    other = [object()]
    return sys.getrefcount(box[0]) - sys.getrefcount(other[0])
