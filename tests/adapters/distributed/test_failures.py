"""Tasks that fail on a real dask cluster: what is recorded, and how they run again here."""

import gc
from collections.abc import Callable
from operator import add, truediv
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.errors import WorkerDied

Soon = Callable[[Callable[[], Any]], Any]


def test_error_arrives_as_itself_and_says_where(client: Any, ends: list[Run]) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        client.get({"one": (add, 0, 1), "ratio": (truediv, "one", 0), "more": (add, "ratio", 1)}, "more")
    (run,) = ends
    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.exception is caught.value
    assert run.failure.key == "ratio"
    assert [run.tasks.status[run.graph.keys.index(key)] for key in ("one", "ratio", "more")] == [
        "finished",
        "failed",
        "failed",
    ]
    name = run.workers[run.failure.worker].name
    (note,) = caught.value.__notes__
    assert f"task 'ratio' failed in run {run.id} on engine 'dask.distributed', worker '{name}'" in note
    assert "replay" in note


def test_failed_task_runs_again_here_with_its_inputs(client: Any, ends: list[Run]) -> None:
    with pytest.raises(ZeroDivisionError):
        client.get({"two": (add, 1, 1), "none": (add, "two", -2), "ratio": (truediv, "two", "none")}, "ratio")
    (run,) = ends
    assert run.failure is not None
    assert run.failure.recall is not None
    _, inputs = run.failure.recall()
    assert sorted(inputs) == [0, 2]
    with pytest.raises(ZeroDivisionError) as caught:
        run.failure.replay()
    assert caught.traceback[-1].name != "replay"


def test_failed_task_of_a_collection_runs_again(client: Any, ends: list[Run]) -> None:
    def refuse(block: Any) -> Any:
        if block[0] > 5:
            raise OverflowError(str(block.sum()))
        return block

    with pytest.raises(OverflowError, match=r"^27"):
        (da.arange(9, chunks=3) + 1).map_blocks(lambda x: x + 1).map_blocks(refuse, meta=np.ones(0)).sum().compute()
    (run,) = ends
    assert run.failure is not None
    with pytest.raises(OverflowError, match=r"^27$") as caught:
        run.failure.replay()
    assert caught.traceback[-1].name == "refuse", "in the user's own frame"
    assert caught.traceback[-1].frame.f_locals["block"].tolist() == [8, 9, 10]


@pytest.mark.parametrize("kind", ["roll before", "roll", "overlap"])
def test_failed_task_of_a_graph_that_taskloom_would_optimise_further(client: Any, ends: list[Run], kind: str) -> None:
    def refuse(block: Any) -> Any:
        raise OverflowError(str(block.shape))

    taskloom.enable_dask()
    try:
        array = da.from_array(np.arange(400.0).reshape(20, 20), chunks=(5, 7))
        build = {
            "roll before": lambda: da.roll(array.map_blocks(refuse, meta=np.ones((0, 0))), 3),
            "roll": lambda: da.roll(array, 3).map_blocks(refuse, meta=np.ones((0, 0))),
            "overlap": lambda: da.overlap.overlap(array, depth=2, boundary="reflect").map_blocks(
                refuse, meta=np.ones((0, 0))
            ),
        }[kind]
        with pytest.raises(OverflowError) as caught:
            build().compute()
        (run,) = ends
        assert run.engine == "dask.distributed"
        assert run.failure is not None
        with pytest.raises(OverflowError) as again:
            run.failure.replay()
        assert again.value.args == caught.value.args
    finally:
        taskloom.disable_dask()


def test_inputs_on_the_cluster_are_brought(client: Any, ends: list[Run], soon: Soon) -> None:
    made = client.submit(np.random.random, 3)  # computed again it would be another one
    kept = made.result()
    failed = client.submit(lambda x: x[7], made)
    with pytest.raises(IndexError) as caught:
        failed.result()
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    assert run.failure.recall is not None
    assert run.failure.exception is caught.value
    _, inputs = run.failure.recall()
    assert np.array_equal(inputs[0], kept)


def test_inputs_from_before_the_run_are_brought(client: Any, ends: list[Run], soon: Soon) -> None:
    x = da.arange(4, chunks=2).persist()
    distributed.wait(x)
    soon(lambda: ends)
    with pytest.raises(IndexError):
        x.map_blocks(lambda block: block[block.sum()], meta=np.ones(0)).sum().compute()
    failure = ends[1].failure
    assert failure is not None
    with pytest.raises(IndexError):
        failure.replay()
    del x
    with pytest.raises(IndexError):
        failure.replay()
    del failure
    client.get({"another": (add, 1, 2)}, "another")
    gc.collect()  # what Python's tracebacks hold in circles
    soon(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def test_inputs_of_a_failure_stay_on_the_cluster_until_another_run_begins(
    client: Any, ends: list[Run], soon: Soon, busy: Callable[[], None]
) -> None:
    def held() -> list[Any]:
        gc.collect()
        return [key for key, workers in client.who_has().items() if workers]

    x = da.arange(4, chunks=2).persist()
    distributed.wait(x)
    soon(lambda: ends)  # else what is submitted next is a part of the same record
    with pytest.raises(IndexError):
        x.map_blocks(lambda block: block[block.sum()], meta=np.ones(0)).sum().compute()
    del x
    assert len(held()) == 2
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    with pytest.raises(IndexError):
        run.failure.replay()
    another = client.submit(busy, pure=False)
    soon(lambda: not held())
    assert not another.done()


def test_any_task_of_the_last_run_can_be_run_again(client: Any, ends: list[Run]) -> None:
    (da.arange(6, chunks=2) + 1).sum().compute()
    (run,) = ends
    row = run.n_tasks - 1
    plan = run.plan_for(row, fresh=True)
    results = plan.results()
    for task in range(run.n_tasks):
        results[task] = plan.functions[task](*plan.inputs(task, results))
    assert results[row] == 21
    taskloom.get({"a": (abs, -1)}, "a")
    assert not run.keeps_inputs


@pytest.fixture
def failed(client: Any, ends: list[Run], soon: Soon) -> Any:
    """What a failed `persist` has given, and its run, which has ended."""

    def refuse(number: int) -> int:  # in here: workers cannot import this file
        if number > 1:
            raise OverflowError(number)
        return number

    tasks = [dask.delayed(refuse)(dask.delayed(add)(number, 1), dask_key_name=f"refuse-{number}") for number in (0, 4)]
    persisted = list(dask.persist(*tasks))
    distributed.wait(persisted)
    (run,) = soon(lambda: ends)
    assert run.status == "failed"
    return persisted, run


def test_failed_persist_runs_again_after_another_run(failed: Any) -> None:
    persisted, run = failed
    for _ in range(2):
        taskloom.get({"a": (abs, -1)}, "a")
    assert not run.keeps_inputs
    assert run.can_recall
    _, inputs = run.failure.recall()
    assert inputs[0] == 5
    with pytest.raises(OverflowError, match=r"^5$") as caught:
        run.failure.replay()
    assert caught.traceback[-1].name == "refuse"
    assert run.plan_for(run.failed_task, fresh=True).keys[run.failed_task] == "refuse-4"
    assert len(persisted) == 2


def test_failed_persist_that_is_computed_runs_again(failed: Any, ends: list[Run]) -> None:
    persisted, _ = failed
    with pytest.raises(OverflowError):
        persisted[1].compute()
    failure = ends[1].failure
    assert failure is not None
    assert failure.key == "refuse-4"
    with pytest.raises(OverflowError, match=r"^5$") as caught:
        failure.replay()
    assert caught.traceback[-1].name == "refuse"


def test_what_builds_on_a_failed_persist_fails_with_it(failed: Any, ends: list[Run]) -> None:
    persisted, run = failed
    more = dask.delayed(add)(persisted[1], 1, dask_key_name="more").persist()
    with pytest.raises(OverflowError) as caught:
        more.compute()
    failure = ends[-1].failure
    assert failure is not None, "told although the task failed in a record before"
    (note, *_) = caught.value.__notes__
    assert "task 'refuse-4' failed in run" in note
    assert not any("'more'" in note for note in caught.value.__notes__)
    with pytest.raises(OverflowError, match=r"^5$"):
        run.failure.replay()


def test_failed_persist_whose_result_is_gone_says_what_to_do(client: Any, failed: Any, soon: Soon) -> None:
    persisted, run = failed
    taskloom.get({"a": (abs, -1)}, "a")
    del persisted[:]
    gc.collect()
    soon(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    for replay in (run.failure.replay, lambda: run.plan_for(run.failed_task)):
        with pytest.raises(ValueError, match="Run its cell again, and keep what it gives"):
            replay()


def test_failed_persist_whose_client_is_closed_says_so(client: Any, failed: Any) -> None:
    _, run = failed
    taskloom.get({"a": (abs, -1)}, "a")
    client.close()
    dask.config.config.pop("scheduler")  # which Dask leaves there where a client is closed inside of its block
    with pytest.raises(ValueError, match="the client that submitted it is not connected any more"):
        run.failure.replay()


def test_each_future_that_fails_is_noted(client: Any, ends: list[Run], soon: Soon) -> None:
    futures = [client.submit(truediv, number, 0) for number in range(3)]
    follower = client.submit(add, futures[0], 1)
    errors = [future.exception() for future in [*futures, follower]]
    (run,) = soon(lambda: ends)
    assert run.status == "failed"
    assert run.n_failed == 4
    assert all(error.__notes__ for error in errors)
    failure = run.failures[run.graph.keys.index(follower.key)]
    assert failure.key == futures[0].key


def test_failed_future_is_retried(
    client: Any, ends: list[Run], soon: Soon, busy: Callable[[], None], tmp_path: Path
) -> None:
    event = distributed.Event("may-succeed", client=client)

    def work() -> int:
        if not distributed.Event("may-succeed").is_set():
            raise OSError("not yet")
        return 1

    other = client.submit(busy, pure=False)  # the record does not end before it
    future = client.submit(work, pure=False)
    with pytest.raises(OSError, match="not yet"):
        future.result()
    event.set()
    future.retry()
    assert future.result() == 1
    (tmp_path / "over").touch()
    other.result()
    (run,) = soon(lambda: ends)
    assert (run.status, run.n_done, run.n_failed) == ("finished", 2, 0)


def test_retries_are_counted(client: Any, ends: list[Run], soon: Soon) -> None:
    future = client.submit(truediv, 1, 0, retries=2, pure=False)
    future.exception()
    (run,) = soon(lambda: ends)
    assert run.failure is not None
    assert run.failure.attempt == 3


def test_graph_that_the_scheduler_cannot_read(client: Any, ends: list[Run]) -> None:
    class Unreadable:
        def __dask_tokenize__(self) -> str:
            return "unreadable"

        def __reduce__(self) -> Any:
            return truediv, (1, 0)

    with pytest.raises(RuntimeError, match="deserializ"):
        client.get({"x": (str, Unreadable())}, "x")
    (run,) = ends
    assert run.status == "failed"


def test_key_that_there_is_not(client: Any, ends: list[Run]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - dask's own, whatever it is in this release
        client.get({"x": (add, 1, 2)}, "nothing")
    (run,) = ends
    assert run.status in ("failed", "cancelled")


def test_task_that_ends_its_workers_is_not_run_here(ends: list[Run], soon: Soon) -> None:
    from taskloom.distributed import Client

    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        import os

        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        with pytest.raises(distributed.KilledWorker) as caught:
            client.get({"x": (os._exit, 3)}, "x")
        (run,) = ends
        assert run.status == "failed"
        assert run.failure is not None
        assert run.failure.ended_worker
        assert isinstance(run.failure.exception, WorkerDied)
        assert caught.value.__notes__
