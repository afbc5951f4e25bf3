"""Clients of schedulers that are not taskloom's: `Client` gives one of dask's own for them, and so do others that need
a client, or futures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.option_names import describe_cluster

_ELSEWHERE = re.compile(r"(tcp|tls|ws|wss|ucx|ucxx)://.+|(\w[\w.-]*|\[[0-9a-fA-F:]+\]):\d+")


class MaybeElsewhere:
    """Makes another library's client where an address, a cluster or a scheduler's file is that library's."""

    def __new__(cls, address: Any = None, *args: Any, **options: Any) -> Any:
        if is_elsewhere(address) or (address is None and _is_default_elsewhere(cls, options)):
            return higher["client_elsewhere"](address, *args, **options)
        return super().__new__(cls)


class MaybeTheirs:
    """Makes another library's thing of the same name where a client of that library's is given, or is in force."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        client = options.get("client", next((value for value in args if hasattr(value, "submit")), None))
        theirs = library_of(client) if client is None or _comes_from(client, "distributed") else None
        return super().__new__(cls) if theirs is None else getattr(theirs, cls.__name__)(*args, **options)


class MaybeOfTheirs:
    """Makes another library's thing of the same name for futures of that library's."""

    def __new__(cls, futures: Any = None, *args: Any, **options: Any) -> Any:
        first = next(iter(futures), None) if isinstance(futures, Collection) else None
        theirs = library_of(first) if _comes_from(first, "distributed") else None
        return super().__new__(cls) if theirs is None else getattr(theirs, cls.__name__)(futures, *args, **options)


def library_of(value: Any = None) -> Any:
    """The module of another library: whose client the value is, whose futures are in it, or whose client is in force.

    None where that is nobody but taskloom.
    """
    return higher["library_elsewhere"](value) if "library_elsewhere" in higher else None


def is_elsewhere(address: Any) -> bool:
    """Whether a dask scheduler is meant, by its address or its cluster object, of whatever class that is.

    >>> is_elsewhere("tcp://10.0.0.1:8786"), is_elsewhere("login-node:8786"), is_elsewhere("unix:///run/a.sock")
    (True, True, False)
    """
    if isinstance(address, str):
        return _ELSEWHERE.fullmatch(address.strip()) is not None or _is_elsewhere_in_process(address)
    if _comes_from(address, "distributed"):
        return True
    return isinstance(getattr(address, "scheduler_address", None), str) and not _comes_from(address, "taskloom")


def _is_elsewhere_in_process(address: str) -> bool:
    """Whether a dask scheduler of this process is meant: clusters of threads have such addresses here, too."""
    from taskloom.engines.cluster.local_cluster import cluster_at

    if not address.startswith("inproc://") or cluster_at(address) is not None:
        return False
    return bool(higher["inproc_elsewhere"](address))


def _is_default_elsewhere(client: Any, options: Mapping[str, Any]) -> bool:
    """Whether a client without an address is another library's: who describes a cluster wants a new one."""
    if options.get("scheduler_file"):
        return True
    return not describe_cluster(options, client) and bool(higher["address_elsewhere"]())


def _comes_from(value: Any, library: str) -> bool:
    return any(base.__module__.partition(".")[0] == library for base in type(value).__mro__)
