"""Dask's collections on taskloom's engines."""

from __future__ import annotations

__all__ = ["disable_dask", "enable_dask"]


def enable_dask() -> None:
    """Run Dask's collections on taskloom's engines, unchanged: arrays, dataframes, bags, delayed, and xarray's.

    From then on ``x.compute()``, ``dask.compute``, ``persist`` and everything else that asks Dask for a scheduler gets
    one of taskloom's: ``"threads"``, ``"processes"`` and ``"sync"`` mean its engines, ``"distributed"`` its cluster,
    and a `taskloom.distributed.Client` is a scheduler as any other. Who says which one, first hit wins: the
    ``scheduler=`` argument, Dask's configuration, taskloom's, a client of ``dask.distributed`` that is open, what the
    collection prefers. Dask's configuration counts for ``num_workers``, ``pool``, ``multiprocessing.context`` and
    ``multiprocessing.initializer`` too, as do its callbacks.

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
    try:
        import dask  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ImportError(
            "Dask is not installed, so its collections cannot run on taskloom. Install it: pip install 'taskloom[dask]'"
        ) from error
    from taskloom.adapters.dask import plugging  # takes as long as importing Dask

    plugging.enable()


def disable_dask() -> None:
    """Have Dask run its collections itself again, as before `enable_dask`."""
    import sys

    plugging = sys.modules.get("taskloom.adapters.dask.plugging")
    if plugging is not None:
        plugging.disable()
