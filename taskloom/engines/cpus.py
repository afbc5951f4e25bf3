"""How many cores this process may use."""

from __future__ import annotations

import os
from functools import cache
from math import ceil
from pathlib import Path


@cache
def usable_cpus() -> int:
    """The cores this process may run on, within its affinity and its container's quota (cgroup v2 or v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota >= cores else max(1, ceil(quota))


def _quota() -> float:
    """Cores' worth of time that the container grants; infinity where it does not say."""
    groups = Path("/sys/fs/cgroup")
    try:
        try:
            quota, period = (groups / "cpu.max").read_text().split()
        except FileNotFoundError:
            quota = (groups / "cpu/cpu.cfs_quota_us").read_text()
            period = (groups / "cpu/cpu.cfs_period_us").read_text()
        cores = float(quota) / float(period)
    except (OSError, ValueError):  # no such file, or "max"
        return float("inf")
    return cores if cores > 0 else float("inf")
