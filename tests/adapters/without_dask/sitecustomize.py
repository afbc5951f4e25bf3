"""Hides dask from every Python that has this folder in PYTHONPATH: it is not found, as where it was never installed."""

from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

HIDDEN = {"dask", "distributed"}

_find_spec = PathFinder.find_spec


def find_spec(_: type[PathFinder], name: str, *args: Any) -> ModuleSpec | None:
    return None if name.partition(".")[0] in HIDDEN else _find_spec(name, *args)


PathFinder.find_spec = classmethod(find_spec)  # type: ignore[method-assign, assignment]
