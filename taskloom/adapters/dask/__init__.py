"""Dask's collections on taskloom's engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from taskloom.adapters.at_import import AtImport
from taskloom.errors import ConfigError

__all__ = ["disable_dask", "enable_dask", "enable_dask_when_imported"]

OLDEST = "2026.3"  # the first release of Dask that taskloom is for


def enable_dask_when_imported() -> None:
    """What `enable_dask` does, as soon as somebody imports Dask: nobody else waits until it is loaded.

    Warns where it cannot be done.
    """
    _clusters.arm()  # first: it may be what imports Dask
    _dask.arm()


def enable_dask() -> None:
    """Run Dask's collections on taskloom's engines, unchanged: arrays, dataframes, bags, delayed, and xarray's.

    From then on ``x.compute()``, ``dask.compute``, ``persist`` and everything else that asks Dask for a scheduler gets
    one of taskloom's: ``"threads"``, ``"processes"`` and ``"sync"`` mean its engines, ``"distributed"`` its cluster,
    and a `taskloom.distributed.Client` is a scheduler as any other. Who says which one, first hit wins: the
    ``scheduler=`` argument, Dask's configuration, the newest of what was set in taskloom and a client of
    ``dask.distributed`` that is open, taskloom's environment and files, what the collection prefers. What such clients
    submit is shown, too. Dask's configuration counts for ``num_workers``,
    ``pool``, ``multiprocessing.context`` and ``multiprocessing.initializer`` too, as do its callbacks; with
    ``rerun_exceptions_locally``, a task that failed in a worker process runs again in this one, and raises there.

    Does nothing where it has been done.

    Raises
    ------
    ImportError
        Dask is not installed.
    ConfigError
        This release of Dask cannot run on taskloom, or something is missing that it needs; nothing has changed.

    Examples
    --------
    >>> import dask, taskloom
    >>> taskloom.enable_dask()
    >>> dask.delayed(sum)([1, 2]).compute()
    3
    >>> taskloom.last_run().engine
    'threads'
    >>> taskloom.disable_dask()
    """
    _dask.disarm()
    try:
        import dask  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ImportError(
            "Dask is not installed, so its collections cannot run on taskloom. Install it: pip install 'taskloom[dask]'"
        ) from error
    try:
        with _usable("dask"):
            from taskloom.adapters.dask import plugging  # takes as long as importing Dask

            plugging.enable()
    except ConfigError:
        disable_dask()
        raise
    _clusters.arm()


def disable_dask() -> None:
    """Have Dask run its collections itself again, as before `enable_dask`."""
    _dask.disarm()
    plugging = sys.modules.get("taskloom.adapters.dask.plugging")
    if plugging is not None:
        plugging.disable()
    _clusters.disarm()
    distributed = sys.modules.get("taskloom.adapters.distributed")
    if distributed is not None:
        distributed.unfollow()


def _follow() -> None:
    with _usable("distributed"):
        from taskloom.adapters.distributed.following import follow  # the package may be in the midst of its own import

        follow()


@contextmanager
def _usable(library: str) -> Iterator[None]:
    """A block that needs much of a library of Dask's: where something is not there, says what would be needed."""
    try:
        yield
    except Exception as error:
        release = getattr(sys.modules.get(library), "__version__", "of an unknown release")
        raise ConfigError(
            f"{library} {release} cannot be used ({type(error).__name__}: {error}). taskloom is for Dask {OLDEST} or "
            "newer, and for all that this needs: pip install -U 'taskloom[dask]'"
        ) from error


_dask = AtImport("dask", enable_dask)
_clusters = AtImport("distributed", _follow)
