"""How far futures are, as a line of text."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from taskloom.bus.run import presenters
from taskloom.engines.cluster.client.elsewhere import library_of
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.gathering import settled
from taskloom.engines.cluster.client.waiting import futures_in

WIDTH = 24  # characters of the bar
PAUSE = 0.1  # seconds between two looks
CLEAR_LINE = "\r\x1b[2K"


def progress(*futures: Any, notebook: bool | None = None) -> None:
    """Show how far futures are, and wait for them. Where the output is no terminal, such as in a file, it only waits.

    In a notebook with ``%load_ext taskloom`` it returns at once, and the cell has a bar of all that was submitted with
    them, until that is done. So long, they are held: ``progress(client.map(...))`` watches what nobody else has.

    Parameters
    ----------
    futures : futures or persisted collections, in containers of any depth.
    notebook : whether this is a notebook; found out by default.
    """
    found = futures_in(futures)
    theirs = None if found else library_of(futures)
    if notebook is None:
        notebook = _is_notebook()
    if theirs is not None and not (notebook and "progress" in presenters):  # whose bars are there by themselves
        theirs.progress(*futures, notebook=notebook)
    elif not notebook:
        if found:
            _watch(found)
    elif "progress" in presenters:
        for future in found:
            future._state.when_done(partial(_is_done, future))
        runs = [run for future in found for run in future.client._session.records.runs_of([future._state.id])]
        for run in dict.fromkeys(runs):
            presenters["progress"](run)


def _is_done(future: Future, _: Any) -> None:
    """A future need not be held any more."""


def _is_notebook() -> bool:
    """Whether cells show what happens here, without importing anything for it."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return hasattr(shell, "kernel")


def _watch(futures: list[Future]) -> None:
    """Write over one line of the terminal until all are done; silent where there is no terminal."""
    shown = sys.stdout.isatty()
    states = [future._state for future in futures]
    client = futures[0].client
    while True:
        try:
            client._block_on(settled(states), PAUSE if shown else None)
        except TimeoutError:
            sys.stdout.write(CLEAR_LINE + _line(futures))
            sys.stdout.flush()
        else:
            break
    if shown:
        sys.stdout.write(CLEAR_LINE + _line(futures) + "\n")
        sys.stdout.flush()


def _line(futures: list[Future]) -> str:
    """The bar.

    >>> _line([])
    '[########################] 0/0'
    """
    done = sum([future.done() for future in futures])
    failed = sum([future.status == "error" for future in futures])
    full = WIDTH * done // len(futures) if futures else WIDTH
    text = f"[{'#' * full}{'.' * (WIDTH - full)}] {done:,}/{len(futures):,}"
    return f"{text}  {failed:,} failed" if failed else text
