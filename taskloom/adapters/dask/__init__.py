"""Dask's collections on taskloom's engines."""

from __future__ import annotations

import sys

from taskloom.adapters.at_import import AtImport

__all__ = ["disable_dask", "enable_dask", "enable_dask_when_imported"]


def enable_dask_when_imported() -> None:
    """What `enable_dask` does, as soon as somebody imports Dask: nobody else waits until it is loaded."""
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
    from taskloom.adapters.dask import plugging  # takes as long as importing Dask

    plugging.enable()
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
    from taskloom.adapters.distributed.following import follow  # the package may be in the midst of its own import

    follow()


_dask = AtImport("dask", enable_dask)
_clusters = AtImport("distributed", _follow)
