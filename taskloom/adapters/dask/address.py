"""The address of a scheduler that Dask's configuration names, for clients that are given none."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from taskloom.errors import ConfigError


def configured() -> Any:
    """What ``scheduler-address`` says; None or nothing where no scheduler is named.

    Raises
    ------
    ConfigError
        One is named, but what connects to it is not installed.
    """
    try:
        import dask
    except ImportError:
        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    else:
        address = dask.config.get("scheduler-address", None)
    if address and find_spec("distributed") is None:
        raise ConfigError(
            f"Dask's configuration, or DASK_SCHEDULER_ADDRESS, names the scheduler {address}, but dask.distributed, "
            "which connects to it, is not installed: pip install 'taskloom[dask]'. For a cluster on this machine unset "
            "it, or give an option of the cluster, such as Client(n_workers=1)."
        )
    return address
