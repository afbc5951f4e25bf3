"""Files that one task at a time may write."""

import os
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from xarray.backends import locks, writers

import taskloom
from taskloom.distributed import Client
from tests.engines.cases import PATIENCE, check_child


class OneWriter:
    """A place to store an array that does not bear two writers at a time."""

    shape = (8,)
    dtype = np.dtype(float)

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __setitem__(self, where: object, what: object) -> None:
        file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            sum(range(100_000))
        finally:
            os.close(file)
            os.unlink(self.path)


def test_store_locks_across_workers(scheduler: str, tmp_path: Path) -> None:
    with dask.config.set(scheduler=scheduler):
        da.store(da.ones(8, chunks=1), OneWriter(tmp_path / "one"), lock=True)


@pytest.mark.parametrize("module", [locks, writers])
def test_xarray_knows_which_engines_have_processes(module: Any) -> None:
    assert module.get_dask_scheduler() == "threaded"
    with dask.config.set(scheduler="processes"):
        assert module.get_dask_scheduler() == "multiprocessing"
    with Client(n_workers=1, threads_per_worker=1):
        assert module.get_dask_scheduler() == "multiprocessing"
    with Client(n_workers=1, processes=False):
        assert module.get_dask_scheduler() == "threaded"
    taskloom.disable_dask()
    assert module.get_dask_scheduler.__module__ == "xarray.backends.locks"
    assert locks._get_lock_maker.__module__ == "xarray.backends.locks"


def test_an_xarray_that_has_another_name_for_the_question_is_told_too() -> None:
    program = """
import importlib.machinery, sys, taskloom
from taskloom.distributed import Client
from tests.engines.cases import check_child

class Older(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        spec = super().find_spec(fullname, path, target)
        if fullname == "xarray.backends.locks":
            execute = spec.loader.exec_module
            def older(module):
                execute(module)
                module._get_scheduler = module.__dict__.pop("get_dask_scheduler")
            spec.loader.exec_module = older
        return spec

if __name__ == "__main__":
    sys.meta_path.insert(0, Older)
    taskloom.enable_dask()
    try:
        import xarray.backends.locks
    except ImportError as error:  # what else is new in this one
        assert "get_dask_scheduler" in str(error), error
    locks = sys.modules["xarray.backends.locks"]
    with Client(n_workers=1, threads_per_worker=1):
        print(locks._get_scheduler())
"""
    assert check_child(program, limit=3 * PATIENCE) == "multiprocessing\n"


def climate() -> xr.Dataset:
    values = da.random.default_rng(0).random((24, 6), chunks=(2, 3))
    variables = {"air": (("time", "x"), values), "rain": ("time", da.arange(24, chunks=2))}
    return xr.Dataset(variables, {"time": np.arange(24)}, {"title": "two variables in many chunks"})


def write_and_read(directory: Path, engine: Any) -> None:
    data = climate()
    expected = data.compute(scheduler="sync")
    data.to_netcdf(directory / "whole.nc", engine=engine)
    later = data.to_netcdf(directory / "later.nc", engine=engine, compute=False)
    assert later is not None
    later.compute()
    parts = [data.isel(time=slice(start, start + 8)) for start in (0, 8, 16)]
    xr.save_mfdataset(parts, [directory / f"part-{number}.nc" for number in range(3)], engine=engine)
    for pattern in ("whole.nc", "later.nc", "part-*.nc"):
        paths = sorted(directory.glob(pattern))
        with xr.open_mfdataset(paths, engine=engine, chunks={"time": 2}) as found:
            xr.testing.assert_identical(found.compute(), expected)
            xr.testing.assert_allclose(found.mean().compute(), expected.mean())


def test_netcdf_files_are_written_and_read(scheduler: str, tmp_path: Path) -> None:
    with dask.config.set(scheduler=scheduler):
        write_and_read(tmp_path, "netcdf4")


@pytest.mark.parametrize("engine", ["netcdf4", "scipy"])
def test_netcdf_files_are_written_and_read_by_workers_that_are_threads(engine: str, tmp_path: Path) -> None:
    with Client(n_workers=2, threads_per_worker=2, processes=False):
        write_and_read(tmp_path, engine)


def test_netcdf_files_are_written_by_workers_of_several_threads(tmp_path: Path) -> None:
    with Client(n_workers=2, threads_per_worker=2):
        write_and_read(tmp_path, "netcdf4")
