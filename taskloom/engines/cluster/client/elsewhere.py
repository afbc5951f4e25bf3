"""Clients of schedulers that are not taskloom's: `Client` gives one of dask's own for them."""

from __future__ import annotations

import re
from typing import Any

from taskloom.engines.cluster.client.higher import higher

_ELSEWHERE = re.compile(r"(tcp|tls|ws|wss|ucx|ucxx)://.+|(\w[\w.-]*|\[[0-9a-fA-F:]+\]):\d+")


class MaybeElsewhere:
    """Makes another library's client where an address, a cluster or a scheduler's file is that library's."""

    def __new__(cls, address: Any = None, *args: Any, **options: Any) -> Any:
        if is_elsewhere(address) or (address is None and options.get("scheduler_file")):
            return higher["client_elsewhere"](address, *args, **options)
        return super().__new__(cls)


def is_elsewhere(address: Any) -> bool:
    """Whether a dask scheduler is meant, by its address or its cluster object.

    >>> is_elsewhere("tcp://10.0.0.1:8786"), is_elsewhere("login-node:8786"), is_elsewhere("unix:///run/a.sock")
    (True, True, False)
    """
    if isinstance(address, str):
        return _ELSEWHERE.fullmatch(address.strip()) is not None
    return any(base.__module__.partition(".")[0] == "distributed" for base in type(address).__mro__)
