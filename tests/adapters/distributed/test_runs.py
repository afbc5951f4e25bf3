"""What dask's clients submit to real schedulers is on the bus."""

import gc
import time
from collections.abc import Callable
from math import inf
from operator import add
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import distributed
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import DaskProcesses

Soon = Callable[[Callable[[], Any]], Any]


def test_client_of_an_address_is_dasks_own(client: Any) -> None:
    assert isinstance(client, distributed.Client)
    assert client.get({"x": (add, 1, 2)}, "x") == 3


def test_address_needs_no_scheme(shared: DaskProcesses) -> None:
    with Client(shared.address.removeprefix("tcp://")) as client:
        assert client.submit(add, 1, 2).result() == 3


def test_file_of_a_scheduler_leads_to_it(shared: DaskProcesses) -> None:
    with Client(scheduler_file=str(shared.scheduler_file)) as client:
        assert isinstance(client, distributed.Client)
        assert client.submit(add, 1, 2).result() == 3


def test_layers_are_known(client: Any, ends: list[Run]) -> None:
    taskloom.enable_dask()
    try:
        (da.ones((8, 8), chunks=4) + 1).T.sum(axis=0).compute()
        layers = ends[0].graph.layers
        lines = [line for key in ends[0].graph.keys if (layer := layers.of(key)) for line in layer.lines]
    finally:
        taskloom.disable_dask()
    assert any("2 × 2 chunks" in line for line in lines)


def test_fused_tasks_are_called_by_the_last_function(client: Any, ends: list[Run]) -> None:
    def outer(block: Any) -> Any:
        return block

    da.ones(8, chunks=4).map_blocks(lambda block: block, dtype=float).map_blocks(outer, dtype=float).sum().compute()
    assert not {"_execute_subgraph", "Compose"} & set(ends[0].graph.functions)


def test_call_is_one_run_and_over_when_it_returns(client: Any, ends: list[Run]) -> None:
    before = time.time()
    value = (da.ones((8, 8), chunks=4) + 1).sum().compute()
    assert value == 128
    (run,) = ends
    assert run.engine == "dask.distributed"
    assert run.status == "finished"
    assert run.n_done == run.n_tasks == len(run.graph.keys) > 4
    assert before <= run.started <= time.time()
    assert {worker.name for worker in run.workers} <= {"worker-0", "worker-1"}
    assert all(worker.pid and worker.threads == 1 for worker in run.workers)


def test_times_are_those_of_the_worker_on_our_clock(client: Any, ends: list[Run]) -> None:
    def first(seconds: float) -> tuple[float, float]:
        begun = time.time()
        time.sleep(seconds)
        return begun, time.time()

    def second(inner: tuple[float, float], seconds: float) -> list[tuple[float, float]]:
        return [inner, first(seconds)]

    own = client.get({"x": (first, 0.2), "y": (second, "x", 0.2)}, "y")
    (run,) = ends
    x, y = run.graph.keys.index("x"), run.graph.keys.index("y")
    start, stop = run.tasks.start, run.tasks.stop
    assert 0 <= start[x] < stop[x] <= start[y] < stop[y] <= run.duration
    for task, (begun, ended) in zip((x, y), own, strict=True):
        assert -0.001 <= (stop[task] - start[task]) - (ended - begun) < 0.5
        assert run.started + stop[task] == pytest.approx(ended, abs=2)
    assert run.graph.dependencies[y] == (x,)
    assert run.graph.functions[y] == "second"


def test_futures_are_one_growing_run(client: Any, ends: list[Run], soon: Soon) -> None:
    first = client.map(lambda x: x * x, range(10))
    total = client.submit(sum, first)
    assert total.result() == 285
    (run,) = soon(lambda: ends)
    assert run.status == "finished"
    assert run.n_done == run.n_tasks == 11
    assert len(run.graph.dependencies[run.graph.keys.index(total.key)]) == 10


def test_persist_and_what_builds_on_it(client: Any, ends: list[Run], soon: Soon) -> None:
    x = da.arange(100, chunks=10).persist()
    distributed.wait(x)
    (first,) = soon(lambda: ends)
    assert first.n_done == first.n_tasks == 10
    assert x.sum().compute() == 4950
    assert len(ends) == 2
    assert not set(first.graph.keys) & set(ends[1].graph.keys), "what was there already is no task of the second run"


def in_memory(client: Any) -> list[Any]:
    """The keys of what the cluster holds."""
    gc.collect()
    return [key for key, workers in client.who_has().items() if workers]


def test_persisted_data_go_once_their_user_lets_go_of_them(client: Any, soon: Soon) -> None:
    x = da.ones(10, chunks=5).persist()
    distributed.wait(x)
    assert x.sum().compute() == 10
    assert len(in_memory(client)) == 2
    del x
    soon(lambda: not in_memory(client))


def test_so_they_do_behind_a_persist(client: Any, soon: Soon) -> None:
    x = da.ones(10, chunks=5).persist()
    y = (x + 1).persist()
    del x
    distributed.wait(y)
    soon(lambda: len(in_memory(client)) == 2)
    assert y.sum().compute() == 20


def test_so_they_do_while_their_record_goes_on(client: Any, soon: Soon, busy: Callable[[], None]) -> None:
    other = client.submit(busy, pure=False)
    x = da.ones(10, chunks=5).persist()
    for _ in range(3):
        x = (x + 1).persist()
    distributed.wait(x)
    soon(lambda: len(in_memory(client)) == 2)
    assert not other.done()


def test_so_they_do_when_clients_are_left_alone(shared: DaskProcesses, soon: Soon, busy: Callable[[], None]) -> None:
    from taskloom.adapters.distributed import follow, unfollow

    follow()
    with distributed.Client(shared.address) as client:
        try:
            x = da.ones(10, chunks=5).persist()
            distributed.wait(x)
            x.map_blocks(busy, meta=x._meta).persist()
        finally:
            unfollow()
        del x
        soon(lambda: not in_memory(client))


def test_a_task_that_takes_persisted_data_runs_again_as_long_as_there_are(
    client: Any, ends: list[Run], soon: Soon
) -> None:
    x = da.arange(10, chunks=5).persist()
    distributed.wait(x)
    soon(lambda: ends)
    assert x.sum().compute() == 45
    run = ends[-1]
    row = run.n_tasks - 1
    plan = run.plan_for(row)
    results = plan.results()
    for task in range(run.n_tasks):
        results[task] = plan.functions[task](*plan.inputs(task, results))
    assert results[row] == 45
    del x, plan, results
    soon(lambda: not in_memory(client))
    with pytest.raises(ValueError, match="it builds on results that were on the cluster, which has them no more"):
        run.plan_for(row)


def test_native_collections_run_on_a_cluster_object_of_dasks(ends: list[Run]) -> None:
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        assert client.cluster is cluster
        x = taskloom.delayed(add)(1, 2)
        assert taskloom.compute([x, x + 1]) == ([3, 4],)
    (run,) = ends
    assert run.engine == "dask.distributed"


def test_transfers_are_measured(client: Any, soon: Soon) -> None:
    block = client.submit(bytes, 1_000_000, workers=["worker-0"], pure=False)
    size = client.submit(len, block, workers=["worker-1"], pure=False)
    assert size.result() == 1_000_000
    run = soon(taskloom.last_run)
    (move,) = soon(lambda: run.transfers)  # of what was told just now the scheduler may tell a little later
    assert run.graph.keys[move.task] == block.key
    assert (run.workers[move.source].name, run.workers[move.target].name) == ("worker-0", "worker-1")
    assert move.nbytes >= 1_000_000
    assert 0 < move.time <= run.tasks.stop[run.graph.keys.index(size.key)]


def test_samples_and_running_tasks_are_seen_meanwhile(
    client: Any, soon: Soon, busy: Callable[[], None], tmp_path: Path
) -> None:
    future = client.submit(busy, pure=False)
    run = soon(taskloom.last_run)
    soon(lambda: [task for _, task, _ in run.running] == [0])
    assert run.tasks.status == ["running"]
    soon(lambda: run.samples)
    (tmp_path / "over").touch()
    future.result()
    soon(lambda: run.status == "finished")
    assert all(sample.rss > 1_000_000 for sample in run.samples)


def test_samples_come_in_the_order_of_time_and_for_all_workers_at_once(client: Any, soon: Soon) -> None:
    futures = client.map(lambda i: time.sleep(0.1), range(1000), pure=False)
    run = soon(taskloom.last_run)

    def moments() -> dict[float, set[int]]:
        """Who was sampled when, since both had something to do."""
        samples = list(run.samples)
        both = max(min((each.time for each in samples if each.worker == worker), default=inf) for worker in (0, 1))
        return {
            time: {each.worker for each in samples if each.time == time}
            for time in (each.time for each in samples)
            if time >= both
        }

    soon(lambda: len(moments()) > 3)
    del futures
    soon(lambda: run.status != "running")
    times = [sample.time for sample in run.samples]
    assert times == sorted(times)
    assert all(workers == {0, 1} for workers in moments().values())


def test_many_short_calls_are_each_a_whole_run(client: Any, ends: list[Run]) -> None:
    for number in range(30):
        x, y = ("x", number), ("y", number)
        assert client.get({x: (add, number, 1), y: (add, x, 1)}, y) == number + 2
    assert [run.n_done for run in ends] == [2] * 30


def test_stop_cancels_what_is_outstanding(client: Any, ends: list[Run], busy: Callable[[], None]) -> None:
    class Stop:
        def run_updated(self, run: Run) -> None:
            if run.running:
                run.cancel()

    with taskloom.subscribe(Stop()), pytest.raises(KeyboardInterrupt):
        client.get({"x": (busy,), "y": (add, "x", 1)}, "y")
    assert ends[0].status == "cancelled"
    assert not client.futures


def test_stop_of_futures(client: Any, ends: list[Run], soon: Soon) -> None:
    futures = client.map(lambda i: time.sleep(0.5), range(200), pure=False)
    run = soon(taskloom.last_run)
    soon(lambda: run.running)
    run.cancel()
    soon(lambda: ends)
    assert run.status == "cancelled"
    assert all(future.cancelled() or future.done() for future in futures)


@pytest.mark.parametrize("cancels", [True, False])
def test_released_futures_end_their_run(client: Any, ends: list[Run], soon: Soon, cancels: bool) -> None:
    futures = client.map(lambda i: time.sleep(0.3), range(200), pure=False)
    run = soon(taskloom.last_run)
    soon(lambda: run.n_tasks == 200)
    if cancels:
        client.cancel(futures)
    del futures
    soon(lambda: ends)
    assert run.n_done < 200
    assert run.status == "cancelled"


def test_released_futures_of_a_run_with_a_failure_leave_it_failed(client: Any, ends: list[Run], soon: Soon) -> None:
    futures = client.map(lambda i: time.sleep(0.3) if i else 1 // i, range(200), pure=False)
    assert isinstance(futures[0].exception(), ZeroDivisionError)
    del futures
    (run,) = soon(lambda: ends)
    assert run.n_done < 199
    assert run.status == "failed"


def test_each_client_sees_its_own(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(shared.address) as one, Client(shared.address, set_as_default=False) as other:
        futures = [one.submit(add, 1, i) for i in range(5)]
        assert other.get({"z": (add, 1, 1)}, "z") == 2
        one.gather(futures)
    soon(lambda: sorted(run.n_tasks for run in ends) == [1, 5])


def test_two_clients_share_a_key(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(shared.address) as one, Client(shared.address, set_as_default=False) as other:
        futures = [client.submit(time.sleep, 0.3, key="shared") for client in (one, other)]
        for future in futures:
            future.result()
        soon(lambda: len(ends) == 2)
    assert [(run.status, run.n_done) for run in ends] == [("finished", 1)] * 2


def test_client_closed_in_mid_run(shared: DaskProcesses, ends: list[Run], soon: Soon, busy: Callable[[], None]) -> None:
    client = Client(shared.address)
    future = client.submit(busy, pure=False)
    run = soon(taskloom.last_run)
    soon(lambda: run.running)
    client.close()
    soon(lambda: ends)
    assert ends == [run]
    assert run.status == "cancelled"
    assert future.cancelled()


def test_closed_client_is_no_scheduler_any_more(shared: DaskProcesses) -> None:
    with Client(shared.address):
        pass
    assert taskloom.config.get("scheduler") is None
    assert taskloom.compute(taskloom.delayed(add)(1, 2)) == (3,)


def test_dask_default_is_the_client(client: Any, ends: list[Run]) -> None:
    assert dask.delayed(add)(1, 2).compute() == 3
    assert ends[0].engine == "dask.distributed"


def test_scheduler_is_left_as_it_was(shared: DaskProcesses, soon: Soon) -> None:
    with distributed.Client(shared.address) as watcher:

        def plugins() -> set[str]:
            return set(watcher.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins)))

        soon(lambda: not any(name.startswith("taskloom") for name in plugins()))  # of the test before
        before = plugins()
        with Client(shared.address) as client:
            client.submit(add, 1, 2).result()
            assert len(plugins() - before) == 1
        soon(lambda: plugins() == before)
