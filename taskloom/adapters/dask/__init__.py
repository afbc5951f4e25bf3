"""Dask's collections on taskloom's engines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

__all__ = ["disable_dask", "enable_dask", "enable_dask_when_imported"]


class _AtImport(MetaPathFinder):
    """Calls `enable_dask` as soon as Dask has been imported."""

    def arm(self) -> None:
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def disarm(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "dask":
            return None
        self.disarm()
        spec = find_spec("dask")  # by those behind this one
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_enable(module: ModuleType) -> None:
            execute(module)
            enable_dask()

        spec.loader.exec_module = execute_and_enable  # type: ignore[method-assign]
        return spec


_at_import = _AtImport()


def enable_dask_when_imported() -> None:
    """What `enable_dask` does, as soon as somebody imports Dask: nobody else waits until it is loaded."""
    if "dask" in sys.modules:
        enable_dask()
    else:
        _at_import.arm()


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
    _at_import.disarm()
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
    _at_import.disarm()
    plugging = sys.modules.get("taskloom.adapters.dask.plugging")
    if plugging is not None:
        plugging.disable()
