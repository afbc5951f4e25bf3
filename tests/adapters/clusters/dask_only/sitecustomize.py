"""Takes taskloom away from every Python that has this folder in PYTHONPATH: real clusters have dask only."""

import sys
from typing import Any


class Refusal:
    """A finder of modules that knows of none, and refuses one."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name.partition(".")[0] == "taskloom":
            raise ModuleNotFoundError(f"No module named {name!r}: this machine has dask only", name=name)


sys.meta_path.insert(0, Refusal())  # type: ignore[arg-type]
