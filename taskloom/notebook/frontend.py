"""Where the front-end parts are: in a wheel inside the package, in a checkout beside it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

SHARED = "live"  # the folder of what stands in front of every widget's own part


@cache
def widget_source(name: str, suffix: str) -> str:
    """Read a widget's script or style sheet, with what all widgets share in front of it.

    Parameters
    ----------
    name : str
        The widget's folder, such as ``"progress"``.
    suffix : str
        ``"js"`` or ``"css"``.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        The installation is incomplete.

    Examples
    --------
    >>> "taskloom-progress" in widget_source("progress", "css")
    True
    """
    return page_source(name, suffix=suffix)


def page_source(*names: str, suffix: str) -> str:
    """Read the parts of a page of its own, in this order, behind what all widgets share."""
    return "\n".join(_read(name, suffix) for name in (SHARED, *names))


def _read(name: str, suffix: str) -> str:
    file = f"{name}.{suffix}"
    package = files("taskloom")
    checkout = Path(str(package)).parent
    for folder in (package / "widgets", checkout / "widgets"):
        source = folder / name / file
        if source.is_file():
            return source.read_text(encoding="utf-8")
    raise FileNotFoundError(f"taskloom's front-end file widgets/{name}/{file} is missing: install taskloom again")
