"""Makes every Python that has this folder in PYTHONPATH one of a remote machine: it has dask and not taskloom.

Its clock is ahead of ours by as many seconds as CLOCK_AHEAD says.
"""

import os
import sys
import time
from typing import Any


class Refusal:
    """A finder of modules that knows of none, and refuses one."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name.partition(".")[0] == "taskloom":
            raise ModuleNotFoundError(f"No module named {name!r}: this machine has dask only", name=name)


sys.meta_path.insert(0, Refusal())  # type: ignore[arg-type]

if ahead := float(os.environ.get("CLOCK_AHEAD", "0")):
    own_time = time.time
    time.time = lambda: own_time() + ahead
