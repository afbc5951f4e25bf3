"""`taskloom.compute` runs Dask's collections where Dask would, unless somebody has chosen something in taskloom."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from operator import add
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import taskloom
from taskloom import config, delayed
from taskloom.adapters.distributed import unfollow
from taskloom.bus import Run
from taskloom.distributed import Client
from taskloom.engines.worker.pool import pool
from tests.adapters.clusters.processes import DaskProcesses

FRAME = pd.DataFrame({"a": range(20), "b": [i % 3 for i in range(20)]})


@pytest.fixture
def theirs(shared: DaskProcesses) -> Iterator[distributed.Client]:
    """A client that the user has opened, with Dask's own library, on workers that have no taskloom."""
    with distributed.Client(shared.address) as client:
        yield client


@pytest.fixture(scope="module")
def with_taskloom() -> Iterator[str]:
    with DaskProcesses(has_taskloom=True) as cluster:
        yield cluster.address


def ones() -> Any:
    return da.ones((8, 8), chunks=4).sum()


def engine_of(*collections: Any, **options: Any) -> str:
    taskloom.compute(*collections, **options)
    run = taskloom.last_run()
    assert run is not None
    return run.engine


def test_an_open_client_runs_them(theirs: Any, ends: list[Run]) -> None:
    frame = dd.from_pandas(FRAME, npartitions=3)
    total, mean, sums, text = taskloom.compute(
        ones(), {"mean": xr.DataArray(da.arange(10, chunks=3)).mean()}, frame.groupby("b").a.sum(), "text"
    )
    assert (total, mean["mean"].item(), text) == (64, 4.5, "text")
    pd.testing.assert_series_equal(sums.sort_index(), FRAME.groupby("b").a.sum())
    assert [(run.engine, run.status) for run in ends] == [("dask.distributed", "finished")]


def test_a_single_kind_goes_as_an_expression_with_its_layers(theirs: Any, ends: list[Run]) -> None:
    taskloom.enable_dask()
    try:
        assert taskloom.compute(ones()) == (64,)
        layers = ends[0].graph.layers
        lines = [line for key in ends[0].graph.keys if (layer := layers.of(key)) for line in layer.lines]
    finally:
        taskloom.disable_dask()
    assert any("2 × 2 chunks" in line for line in lines)


def test_taskloom_s_own_values_go_with_them(with_taskloom: str, ends: list[Run]) -> None:
    with distributed.Client(with_taskloom):
        x = da.arange(10, chunks=3)
        value = delayed(add)(x.sum(), 1)
        assert taskloom.compute(x.sum(), [value, delayed(str)(5)], dask.delayed(add)(1, 2)) == (45, [46, "5"], 3)
        assert [run.engine for run in ends] == ["dask.distributed"]
        assert engine_of(value) == "threads"  # of taskloom's own only


def test_persisted_collections_stay_on_the_cluster(with_taskloom: str) -> None:
    with distributed.Client(with_taskloom) as client:
        x, own = taskloom.persist(da.arange(10, chunks=5) + 1, delayed(add)(1, 2))
        assert {str(future.key) for future in distributed.futures_of(x)} <= set(map(str, client.futures))
        assert len(distributed.futures_of(x)) == 2
        assert own.key in client.futures
        assert taskloom.compute(x.sum(), own) == (55, 3)
        assert own.compute() == 3


def test_annotations_reach_the_scheduler(with_taskloom: str) -> None:
    with distributed.Client(with_taskloom) as client:
        with dask.annotate(priority=7), taskloom.annotate(priority=3):
            x, own = da.ones(4, chunks=2, name="seven"), delayed(add)(1, 2, dask_key_name="three")
        kept = taskloom.persist(x, own, optimize_graph=False)

        def priorities(dask_scheduler: Any = None) -> set[tuple[str, int]]:
            return {(str(key), task.annotations["priority"]) for key, task in dask_scheduler.tasks.items()}

        distributed.wait(kept)
        assert client.run_on_scheduler(priorities) == {("three", 3), *((str(("seven", i)), 7) for i in range(2))}


def test_the_call_wins(theirs: Any) -> None:
    assert engine_of(ones(), scheduler="sync") == "sync"
    with dask.config.set(scheduler="sync"):
        assert engine_of(ones(), scheduler=theirs) == "dask.distributed"


def test_the_newest_of_taskloom_and_client_wins(shared: DaskProcesses) -> None:
    with config.set(scheduler="sync"):
        with distributed.Client(shared.address):
            assert engine_of(ones()) == "dask.distributed"
            with config.set(scheduler="threads"):
                assert engine_of(ones()) == "threads"
            with Client(n_workers=1, threads_per_worker=1, processes=False):
                assert engine_of(ones()) == "distributed"
        assert engine_of(ones()) == "sync"


def test_dask_on_taskloom_follows_the_same_order(shared: DaskProcesses) -> None:
    def engine() -> str:
        assert ones().compute() == 64
        run = taskloom.last_run()
        assert run is not None
        return run.engine

    taskloom.enable_dask()
    try:
        with config.set(scheduler="sync"):
            with distributed.Client(shared.address):
                assert engine() == "dask.distributed"
                with config.set(scheduler="threads"):
                    assert engine() == "threads"
                with dask.config.set(scheduler="sync"):
                    assert engine() == "sync"
            assert engine() == "sync"
    finally:
        taskloom.disable_dask()


def test_configuration_of_dask_counts_before_its_client(theirs: Any) -> None:
    with dask.config.set(scheduler="single-threaded"):
        assert engine_of(ones()) == "sync"
        assert engine_of(delayed(add)(1, 2)) == "threads"  # which is no collection of Dask's
    with dask.config.set(scheduler="distributed"):
        assert engine_of(ones()) == "dask.distributed"


def test_who_calls_for_distributed_means_the_open_client(theirs: Any) -> None:
    assert engine_of(ones(), scheduler="distributed") == "dask.distributed"
    assert engine_of(ones(), scheduler=" Cluster") == "dask.distributed"
    assert engine_of(ones(), scheduler="threads") == "threads"
    (kept,) = taskloom.persist(ones(), scheduler="distributed")
    assert distributed.futures_of(kept)


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes", "distributed"])
def test_on_taskloom_s_engines_arrays_and_frames_need_no_worker_of_the_open_client(theirs: Any, scheduler: str) -> None:
    taskloom.enable_dask()
    try:
        with contextlib.ExitStack() as stack:
            if scheduler == "distributed":
                stack.enter_context(Client(n_workers=1, threads_per_worker=1))
            else:
                stack.enter_context(config.set(scheduler=scheduler))
            rechunked = da.ones((40, 40), chunks=(1, 40)).rechunk((40, 1))
            assert rechunked.sum().compute() == 1600
            assert taskloom.compute(rechunked.sum()) == (1600,)
            assert dd.from_pandas(FRAME, npartitions=3).shuffle("b").a.sum().compute() == 190
            run = taskloom.last_run()
            assert run is not None
            assert run.engine == scheduler
        with dask.config.set({"array.rechunk.method": "p2p"}):
            assert "p2p" in str(da.ones((40, 40), chunks=(1, 40)).rechunk((40, 1)).name)
        assert "p2p" in str(da.ones((40, 40), chunks=(1, 40)).rechunk((40, 1)).name)  # which is for its workers
    finally:
        taskloom.disable_dask()
        pool.close()


def test_what_was_optimised_here_can_be_rechunked_there(theirs: Any) -> None:
    taskloom.enable_dask()
    try:
        rechunked = da.ones((40, 40), chunks=(1, 40)).rechunk((40, 1))
        assert "p2p" in rechunked.name
        assert dask.optimize(rechunked)[0].sum().compute() == 1600
        assert sum(part.sum() for part in dask.compute(*rechunked.to_delayed().ravel())) == 1600
    finally:
        taskloom.disable_dask()


def test_what_was_made_for_the_open_client_says_so_elsewhere(theirs: Any) -> None:
    rechunked = da.ones((40, 40), chunks=(1, 40)).rechunk((40, 1)).sum()
    taskloom.enable_dask()
    try:
        with pytest.raises(RuntimeError, match="P2P") as caught:
            rechunked.compute(scheduler="threads")
    finally:
        taskloom.disable_dask()
    assert any("array.rechunk.method" in note for note in caught.value.__notes__)
    assert rechunked.compute() == 1600


def test_configuration_of_dask_counts_after_taskloom_s() -> None:
    with dask.config.set(scheduler="sync", num_workers=1):
        assert engine_of(ones()) == "sync"
        with config.set(scheduler="threads"):
            assert engine_of(ones()) == "threads"
    assert engine_of(ones()) == "threads"


def test_options_in_the_configuration_of_dask_come_with_it() -> None:
    with dask.config.set(scheduler="processes", num_workers=1):
        assert engine_of(db.range(4, npartitions=4).sum(), da.ones(3, chunks=1)) == "processes"
        run = taskloom.last_run()
        assert run is not None
        assert len(run.workers) == 1
    pool.close()


def test_a_function_in_the_configuration_of_dask_is_called() -> None:
    def get(dsk: Any, keys: Any, **options: Any) -> Any:
        asked.append(keys)
        return dask.get(dsk, keys)

    asked: list[Any] = []
    with dask.config.set(scheduler=get):
        assert taskloom.compute(ones()) == (64,)
    assert len(asked) == 1


def test_environment_of_dask() -> None:
    program = """
import dask.array as da, taskloom
taskloom.compute(da.ones(4, chunks=2).sum())
print(taskloom.last_run().engine)
taskloom.compute(taskloom.delayed(abs)(1))
print(taskloom.last_run().engine)
"""
    environment = {**os.environ, "DASK_SCHEDULER": "sync"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.split() == ["sync", "threads"]


def test_frames_shuffle_here_while_a_client_is_open(theirs: Any) -> None:
    shuffled = dd.from_pandas(FRAME, npartitions=3).shuffle("b")
    assert taskloom.compute(shuffled.a.sum(), scheduler="threads") == (190,)
    assert taskloom.compute(shuffled.a.sum()) == (190,)


def test_a_misspelt_option_is_refused(theirs: Any) -> None:
    with pytest.raises(TypeError, match=r"'retry'.*Did you mean 'retries'"):
        taskloom.compute(ones(), retry=1)
    assert taskloom.compute(ones(), retries=1, num_workers=1) == (64,)


def test_what_is_shuffled_can_be_submitted_to_an_asynchronous_client(shared: DaskProcesses) -> None:
    async def submit() -> Any:
        async with distributed.Client(shared.address, asynchronous=True) as client:
            frame = dd.from_pandas(FRAME, npartitions=4)
            shuffled = frame.merge(dd.from_pandas(FRAME, npartitions=3), on="a", how="left").shuffle("b_x").optimize()
            return await client.compute(shuffled.a.sum())

    taskloom.enable_dask()
    try:
        assert asyncio.run(submit()) == FRAME.a.sum()
    finally:
        taskloom.disable_dask()


def test_an_asynchronous_client_is_refused_as_dask_does(shared: DaskProcesses) -> None:
    async def main() -> None:
        async with distributed.Client(shared.address, asynchronous=True):
            with pytest.raises(RuntimeError, match="asynchronous"):
                taskloom.compute(ones())
            with dask.config.set({"admin.async-client-fallback": "sync"}), pytest.warns(UserWarning, match="Falling"):
                assert np.array_equal(taskloom.compute(da.ones(4, chunks=2))[0], np.ones(4))

    asyncio.run(main())


@pytest.fixture(autouse=True)
def nothing_is_followed() -> Iterator[None]:
    yield
    unfollow()
