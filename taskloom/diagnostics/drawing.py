"""Profilers' results as Bokeh figures: stacked, saved, shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskloom.diagnostics.base import Recorder

FILENAME = "profile.html"


def visualize(
    profilers: Recorder[Any] | Iterable[Recorder[Any]],
    filename: str | os.PathLike[str] | None = None,
    show: bool | None = None,
    save: bool | None = None,
    mode: str | None = None,
    **kwargs: Any,
) -> Any:
    """Draw what profilers recorded, one figure below the other, over one time axis.

    Parameters
    ----------
    profilers : profiler or list of them
        `Profiler`, `ResourceProfiler`, `CacheProfiler`, in the order in which they are to be stacked.
    filename : path, optional
        Write an HTML file that needs no network.
    show : bool, optional
        Show the figures: in a notebook below the cell, elsewhere in a browser. By default in a notebook only.
    save : bool, optional
        Write the file: by default if `filename` is given; with ``save=True`` alone it is ``profile.html``.
    mode : str, optional
        Where the file has BokehJS from: ``"inline"`` (the default), ``"cdn"``, or any other mode of Bokeh.
    **kwargs
        Given to `bokeh.plotting.figure`, such as ``width``, ``height`` and ``title``; these win over the defaults.

    Returns
    -------
    bokeh.plotting.figure, or bokeh.models.GridPlot for a list of more than one

    Raises
    ------
    ImportError
        Bokeh is not installed.
    ValueError
        `profilers` is empty.

    Examples
    --------
    >>> import taskloom
    >>> from taskloom.diagnostics import CacheProfiler, Profiler
    >>> with Profiler() as tasks, CacheProfiler() as cache:
    ...     taskloom.get({"x": (max, 1, 10), "y": (str, "x")}, "y")
    '10'
    >>> page = visualize([tasks, cache], height=200)
    """
    _require_bokeh()
    from taskloom.diagnostics.figures import NameGroups, stack

    recorders = list(profilers) if isinstance(profilers, Iterable) else [profilers]
    if not recorders:
        raise ValueError("There is no profiler to draw.")
    spans = [span for recorder in recorders if (span := recorder._span()) is not None]
    origin = min((begin for begin, _ in spans), default=0.0)
    length = max((end for _, end in spans), default=1.0) - origin
    groups = NameGroups(next(filter(None, (recorder._weights() for recorder in recorders)), {}))  # one colour per name
    figures = [recorder._plot(origin, length, groups, kwargs) for recorder in recorders]
    page = figures[0] if len(figures) == 1 else stack(figures)

    path = Path(filename or FILENAME) if save or (save is None and filename is not None) else None
    if path is not None:
        _write(page, path, mode)
    if _in_notebook() if show is None else show:
        _show(page, path, mode)
    return page


def _require_bokeh() -> None:
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise ImportError("Drawing profiles needs Bokeh: pip install 'taskloom[notebook]'.") from error


def _write(page: Any, path: Path, mode: str | None) -> None:
    from bokeh.embed import file_html
    from bokeh.resources import Resources

    html = file_html(page, Resources(mode or "inline"), title="Profile")  # type: ignore[arg-type]
    path.write_text(html, encoding="utf-8")


def _show(page: Any, path: Path | None, mode: str | None) -> None:
    if _in_notebook():
        from bokeh.io import output_notebook, show
        from bokeh.io.state import curstate
        from bokeh.resources import Resources

        if not curstate().notebook:
            output_notebook(Resources("inline", components=["bokeh"]), hide_banner=True)  # a third of all of BokehJS
        show(page)
        return
    from bokeh.util import browser

    if path is None:
        with NamedTemporaryFile(suffix=".html", prefix="taskloom-profile-", delete=False) as file:
            path = Path(file.name)  # not deleted: the browser reads it after we have returned
        _write(page, path, mode)
    browser.view(path.resolve().as_uri())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    with suppress(AttributeError):
        return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    return False
