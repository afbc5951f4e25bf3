"""The environment that worker processes get."""

from __future__ import annotations

import os
from collections.abc import Mapping

from taskloom.engines.cpus import usable_cpus

#: Where numeric libraries look for how many threads they may start; OpenMP's counts for most of the others, too.
NATIVE_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def worker_environment(tasks: int, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a worker process: those of this one, and those that are `given`.

    Where these do not say how many threads numeric libraries may start, all `tasks` that run at a time share the
    cores: else each of them would start a thread for every core, and they would get in each other's way.

    >>> worker_environment(10_000, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"]
    '3'
    """
    share = str(max(1, usable_cpus() // max(1, tasks)))
    return {**dict.fromkeys(NATIVE_THREADS, share), **os.environ, **(given or {})}
