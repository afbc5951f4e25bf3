"""Files that one task at a time may write."""

import gc
import os
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from xarray.backends import locks, writers

import taskloom
from taskloom.distributed import Client


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
        dask.delayed(abs)(1).compute()  # what the last run had, the process with its lock too, is kept until then
    gc.collect()


@pytest.mark.parametrize("module", [locks, writers])
def test_xarray_knows_that_a_cluster_has_processes(module: Any) -> None:
    assert module.get_dask_scheduler() == "threaded"
    with Client(n_workers=1, processes=False):
        assert module.get_dask_scheduler() == "multiprocessing"
    taskloom.disable_dask()
    assert module.get_dask_scheduler.__module__ == "xarray.backends.locks"
