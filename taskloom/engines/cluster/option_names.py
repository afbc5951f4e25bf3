"""Which options there are, for who misspells one or gives it in the wrong place."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import Any

from taskloom.engines.cluster.compared import OPTIONS_ELSEWHERE
from taskloom.graph import did_you_mean


def check_names(options: Iterable[str], *classes: Any) -> None:
    """Refuse options that none of some classes takes: the message names the nearest, or says what to do instead."""
    if not options:
        return
    found = [name for cls in classes for name in signature(cls.__init__).parameters]
    known = sorted({*found} - {"self", "options", "others"})
    for option in options:
        if option in OPTIONS_ELSEWHERE:
            raise TypeError(f"There is no option {option!r}, unlike in dask.distributed. {OPTIONS_ELSEWHERE[option]}")
        if option not in known:
            hint = did_you_mean(option, known)
            if option == "scheduler":
                hint = " It belongs to taskloom.compute and taskloom.config.set; an open client is chosen by itself."
            raise TypeError(f"{classes[0].__name__} has no option {option!r}.{hint} There are: {', '.join(known)}.")


def describe_cluster(options: Iterable[str], client: Any) -> bool:
    """Whether some of a client's options are of the cluster that it makes."""
    from taskloom.engines.cluster.local_cluster import LocalCluster

    own = signature(client.__init__).parameters
    return any(option in signature(LocalCluster.__init__).parameters for option in options if option not in own)


def check_client_names(options: Iterable[str], client: Any, connects: bool) -> None:
    """Refuse options that neither a client takes nor the cluster that it makes, which it does unless it connects."""
    from taskloom.engines.cluster.local_cluster import LocalCluster

    check_names(options, client, LocalCluster)
    if options and connects:
        raise TypeError(
            f"{', '.join(f'{name}=' for name in options)} would be options of a new LocalCluster, but the client is to "
            "connect to one that is there."
        )
