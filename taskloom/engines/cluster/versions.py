"""What is installed in a process."""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("taskloom", "cloudpickle", "donfig", "psutil", "tblib", "toolz", "tornado", "numpy", "pandas", "dask")


def versions(packages: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """The system, and the versions of packages; None for those that are not installed.

    >>> versions(["no-such-package"])["packages"]["no-such-package"] is None
    True
    """
    uname = platform.uname()
    return {
        "host": {
            "python": ".".join(map(str, sys.version_info)),
            "python-bits": struct.calcsize("P") * 8,
            "OS": uname.system,
            "OS-release": uname.release,
            "machine": uname.machine,
            "processor": uname.processor,
            "byteorder": sys.byteorder,
            "LC_ALL": os.environ.get("LC_ALL", "None"),
            "LANG": os.environ.get("LANG", "None"),
        },
        "packages": {
            "python": ".".join(map(str, sys.version_info)),
            **{name: _version(name) for name in (*PACKAGES, *packages)},
        },
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def mismatches(found: dict[str, Any]) -> str:
    """What is not the same in all processes, as text; empty if all is.

    Parameters
    ----------
    found : what `versions` gave: of the "client", the "scheduler", and the "workers" by name.
    """
    places = {"client": found["client"], "scheduler": found["scheduler"], **found["workers"]}
    lines = []
    for package in found["client"]["packages"]:
        there = {name: place["packages"].get(package) for name, place in places.items()}
        if len(set(there.values())) > 1:
            lines.append(f"{package}: " + ", ".join(f"{name} has {held or 'none'}" for name, held in there.items()))
    return "\n".join(["Versions differ.", *lines]) if lines else ""
