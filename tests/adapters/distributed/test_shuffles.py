"""Tasks behind shuffles that the workers of a real cluster do between themselves run again here all the same."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest

import taskloom
from taskloom.adapters.distributed.connection import values_of
from taskloom.bus import Failure, Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import DaskProcesses

Soon = Callable[[Callable[[], Any]], Any]


@pytest.fixture(autouse=True)
def between_workers() -> Iterator[None]:
    with dask.config.set({"dataframe.shuffle.method": "p2p", "array.rechunk.method": "p2p"}):
        yield


def frame() -> Any:
    return dd.from_pandas(pd.DataFrame({"k": np.arange(40) % 10, "v": range(40)}), npartitions=4)


def refuse_five() -> Callable[[Any], Any]:
    """A function that workers need not import."""

    def refuse(part: Any) -> Any:
        if (part.k == 5).any():
            raise OverflowError(str(sorted(part.v[part.k == 5])))
        return part

    return refuse


def by_key() -> Any:
    return frame().shuffle("k").map_partitions(refuse_five(), meta=frame()._meta)


def indexed() -> Any:
    return frame().assign(at=frame().k).set_index("at").map_partitions(refuse_five())


def merged() -> Any:
    other = dd.from_pandas(pd.DataFrame({"k": range(10), "w": range(10)}), npartitions=3)
    return frame().merge(other, on="k", broadcast=False).map_partitions(refuse_five())


def failure_of(run: Run) -> Failure:
    assert run.failure is not None
    return run.failure


@pytest.mark.parametrize("make", [by_key, indexed, merged])
def test_failed_task_behind_a_shuffle_of_frames_gets_its_inputs(
    client: Any, ends: list[Run], make: Callable[[], Any]
) -> None:
    with pytest.raises(OverflowError, match=r"^\[5, 15, 25, 35\]"):
        make().compute()
    run = ends[-1]
    assert any("shuffle-barrier" in str(key) for key in run.graph.keys)
    ends.clear()
    for _ in range(2):
        with pytest.raises(OverflowError, match=r"^\[5, 15, 25, 35\]") as caught:
            failure_of(run).replay()
        assert caught.traceback[-1].name == "refuse", "in the user's own frame"
        assert 5 in set(caught.traceback[-1].frame.f_locals["part"].k)
    assert taskloom.last_run() is run
    assert not ends


@pytest.mark.parametrize("behind", [True, False])
def test_failed_task_that_is_fused_with_a_step_of_a_rechunking(client: Any, ends: list[Run], behind: bool) -> None:
    def refuse(block: Any) -> Any:
        if block[0, 0] == 15:
            raise OverflowError(str(block.shape))
        return block

    x = da.arange(80 * 40, chunks=80 * 40).reshape(80, 40).persist()
    if behind:
        shape, chunks = (80, 5), {0: 80, 1: 5}
        refused = x.rechunk({0: 20, 1: 40}).rechunk(chunks).map_blocks(refuse, dtype=x.dtype)
    else:
        shape, chunks = (20, 5), {0: 20, 1: 5}
        refused = (x.rechunk({0: 20, 1: 40}).rechunk(chunks).map_blocks(refuse, dtype=x.dtype)).rechunk({0: 80, 1: 40})
    with pytest.raises(OverflowError):
        refused.sum().compute()
    run = next(each for each in ends if each.failure)  # the record of what was persisted may end after it
    assert any("shuffle-barrier" in str(key) for key in run.graph.keys)
    with pytest.raises(OverflowError, match=rf"^\({shape[0]}, {shape[1]}\)") as caught:
        failure_of(run).replay()
    block = caught.traceback[-1].frame.f_locals["block"]
    assert np.array_equal(block, np.arange(80 * 40).reshape(80, 40)[: shape[0], 15:20])


def test_any_task_behind_a_shuffle_can_be_run_again(client: Any, ends: list[Run]) -> None:
    assert frame().shuffle("k").v.sum().compute() == 780
    run = ends[-1]
    for fresh in (False, True):
        plan = run.plan_for(run.n_tasks - 1, fresh)
        ran: set[int] = set()

        def value(task: int, plan: Any = plan, ran: set[int] = ran) -> Any:
            ran.add(task)
            results = plan.results()
            for row in plan.dependencies(task):
                results[row] = value(row)
            return plan.functions[task](*plan.inputs(task, results))

        assert value(run.n_tasks - 1) == 780
        assert len(ran) == run.n_tasks, "it is known how many tasks that takes"


def test_inputs_stay_on_the_cluster_as_long_as_they_may_be_wanted(client: Any, ends: list[Run], soon: Soon) -> None:
    def tasks() -> int:
        return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

    with pytest.raises(OverflowError):
        by_key().compute()
    soon(lambda: not tasks())
    failure = failure_of(ends[-1])
    for _ in range(2):
        with pytest.raises(OverflowError):
            failure.replay()
        assert tasks() > 0
    client.get({"another": (abs, -1)}, "another")
    soon(lambda: not tasks())


def test_parts_of_the_shuffle_itself_say_what_to_do(client: Any, ends: list[Run]) -> None:
    frame().shuffle("k").v.sum().compute()
    run = ends[-1]
    keys = [str(key) for key in run.graph.keys]
    for part in ("shuffle-transfer", "shuffle-barrier", "p2pshuffle"):
        row = next(row for row, key in enumerate(keys) if part in key)
        with pytest.raises(ValueError, match=r"part of a shuffle.*'dataframe\.shuffle\.method': 'tasks'"):
            run.plan_for(row)


def test_client_that_is_closed(shared: DaskProcesses, ends: list[Run]) -> None:
    with Client(shared.address), pytest.raises(OverflowError):
        by_key().compute()
    with pytest.raises(ValueError, match=r"comes from a shuffle.* not connected any more\. Compute it again"):
        failure_of(ends[-1]).replay()


def test_what_cannot_be_computed_again(client: Any, ends: list[Run], tmp_path: Path) -> None:
    def only_once(part: Any, number: int) -> Any:
        (tmp_path / str(number)).touch(exist_ok=False)
        return part

    meta = frame()._meta
    parts = [dask.delayed(only_once)(part, number) for number, part in enumerate(frame().to_delayed())]
    with pytest.raises(OverflowError):
        dd.from_delayed(parts, meta=meta).shuffle("k").map_partitions(refuse_five(), meta=meta).compute()
    with pytest.raises(ValueError, match=r"comes from a shuffle.* computed there again: FileExistsError") as caught:
        failure_of(ends[-1]).replay()
    assert isinstance(caught.value.__cause__, FileExistsError)


def test_thread_of_the_client_cannot_wait_for_it(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    async def main() -> None:
        async with Client(shared.address, asynchronous=True) as client:
            with pytest.raises(OverflowError):
                await client.compute(by_key())
            while not ends:
                await asyncio.sleep(0.05)
            with pytest.raises(ValueError, match="its client works in this thread"):
                failure_of(ends[-1]).replay()
            with pytest.raises(OverflowError):
                await asyncio.to_thread(failure_of(ends[-1]).replay)

    asyncio.run(main())


def test_inputs_that_were_there_when_it_was_submitted_are_computed_again(
    client: Any, ends: list[Run], soon: Soon
) -> None:
    shuffled = frame().shuffle("k").persist()
    distributed.wait(shuffled)
    soon(lambda: ends)
    refused = by_key().persist()
    distributed.wait(refused)
    run = soon(lambda: len(ends) == 2 and ends[1])
    assert len(run.graph.keys) == 4, "its inputs are none of its tasks"
    names = [future.key for future in distributed.futures_of(shuffled)]
    del shuffled
    soon(lambda: not any(client.who_has(names).values()))
    with pytest.raises(OverflowError, match=r"^\[5, 15, 25, 35\]"):
        failure_of(run).replay()


def test_results_that_go_before_they_are_brought_are_not_waited_for(client: Any) -> None:
    future = client.submit(abs, -3)
    assert future.result() == 3
    assert values_of(client, [future.key, "gone meanwhile"]) == {future.key: 3}
