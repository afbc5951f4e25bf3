"""What taskloom's own client promises beyond what `test_semantics.py` holds for both libraries."""

import asyncio
import concurrent.futures
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom import config
from taskloom.bus import begin_burst, presenters
from taskloom.distributed import (
    Client,
    Future,
    FutureCancelledError,
    LocalCluster,
    as_completed,
    default_client,
    fire_and_forget,
    get_client,
    get_task_stream,
    performance_report,
    progress,
    wait,
)
from taskloom.engines.cluster.client.hearing import Arrival
from taskloom.engines.cluster.local_cluster import nprocesses_nthreads
from taskloom.engines.cluster.scheduler.tasks import SHIFT
from tests.engines.cases import PATIENCE


@pytest.fixture(scope="module", params=[True, False], ids=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=request.param) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which tasks wait; it is there at the end of the test in any case."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def inc(x: Any) -> Any:
    return x + 1


def fail(x: Any) -> Any:
    raise ValueError(x)


def divide(x: Any, by: list[int]) -> Any:
    if not by[0]:
        raise ZeroDivisionError(f"{x} in {threading.get_ident()}")
    return x / by[0]


def wait_for(path: str, value: Any = None) -> Any:
    while not os.path.exists(path):
        time.sleep(0.002)
    return value


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.005)


def interrupted(call: Callable[[], Any], when: Callable[[], Any] = lambda: True) -> None:
    """Interrupt a call that waits, once something is true. On a slow machine that may be before it waits."""

    def strike() -> None:
        try:
            until(when)
            time.sleep(0.2)
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def struck() -> None:
        thread.start()
        call()

    thread = threading.Thread(target=strike)
    gc.disable()  # an interrupt that comes while garbage is collected may be raised in a finalizer, where it is lost
    try:
        with pytest.raises(KeyboardInterrupt):
            struck()
    finally:
        gc.enable()
    thread.join()


# -- keys and options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [object(), ["x"], ("x", None), inc])
def test_what_cannot_be_a_key_is_refused(client: Client, key: Any) -> None:
    with pytest.raises(TypeError, match=r"keys are str, bytes, int, float, or tuples of those"):
        client.submit(inc, 1, key=key)
    with pytest.raises(TypeError, match=r"keys are str"):
        client.map(inc, [1], key=[key])
    assert client.submit(inc, 1, key=("x", b"y", 0, 1.5, ("z",))).result() == 2


def test_names_of_data_are_keys(client: Client) -> None:
    with pytest.raises(TypeError, match=r"keys are str"):
        client.scatter({None: 1})


def test_a_timeout_of_the_order_is_taken_and_means_nothing(client: Client) -> None:
    value = taskloom.delayed(inc)(1)
    assert client.submit(inc, 1, fifo_timeout="1s").result() == 2
    assert client.gather(client.map(inc, [1], fifo_timeout="1s")) == [2]
    assert client.compute(value, sync=True, fifo_timeout="1s") == 2
    assert client.persist(value, fifo_timeout="1s").compute() == 2


# -- waiting inside of tasks: with a slot for one task, what does not free it waits for ever ---------------------------


@pytest.fixture(params=[True, False], ids=["processes", "threads"])
def narrow(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a cluster that runs one task at a time."""
    with Client(n_workers=1, threads_per_worker=1, processes=request.param) as client:
        yield client


def waits_for_an_executor() -> Any:
    with get_client().get_executor() as executor:
        mapped = list(executor.map(inc, [1, 2]))
        future = executor.submit(inc, 3)
        failed = executor.submit(fail, 4)
        return mapped, future.result(), str(failed.exception())


def waits_for_the_end_of_an_executor() -> Any:
    with get_client().get_executor() as executor:
        future = executor.submit(inc, 3)
    return future.done()


async def awaits_futures() -> Any:
    async def steps(x: int) -> Any:
        client = get_client()
        return await client.submit(inc, await client.submit(inc, x))

    return await asyncio.gather(*map(steps, range(4)))


@pytest.mark.parametrize(
    ("function", "outcome"),
    [
        (waits_for_an_executor, ([2, 3], 4, "4")),
        (waits_for_the_end_of_an_executor, True),
        (awaits_futures, [2, 3, 4, 5]),
    ],
)
def test_waiting_inside_of_a_task_frees_its_slot(narrow: Client, function: Any, outcome: Any) -> None:
    assert narrow.submit(function).result(timeout=20) == outcome
    assert narrow.submit(function, pure=False).result(timeout=20) == outcome  # and the slot is there again


# -- functions ---------------------------------------------------------------------------------------------------------


def test_a_function_whose_globals_change_is_sent_anew(client: Client) -> None:
    """As in a notebook, where a cell is run again."""
    cells: dict[str, Any] = {"__name__": "__main__"}
    exec("factor = 2\ndef scale(x): return factor * x", cells)
    assert client.submit(cells["scale"], 10).result() == 20
    cells["factor"] = 3
    assert client.submit(cells["scale"], 10).result() == 30


def test_a_function_called_by_another_that_changes_is_sent_anew(client: Client) -> None:
    cells: dict[str, Any] = {"__name__": "__main__"}
    exec("def inner(x): return x\ndef outer(x): return inner(x)", cells)
    assert client.submit(cells["outer"], 1).result() == 1
    exec("def inner(x): return -x", cells)
    assert client.submit(cells["outer"], 1).result() == -1


def test_a_closure_that_changes_is_sent_anew(client: Client) -> None:
    state = [1]
    function = lambda: list(state)  # noqa: E731
    assert client.submit(function, pure=False).result() == [1]
    state.append(2)
    assert client.submit(function, pure=False).result() == [1, 2]


def test_a_call_from_inside_of_a_task_and_one_from_outside_are_one(client: Client) -> None:
    """The worker pickles its own copy of the function, which need not give the same bytes."""
    cells: dict[str, Any] = {"__name__": "__main__"}
    exec("from taskloom.distributed import get_client\ndef inner(x): return x + 1", cells)
    exec("def outer(x): return get_client().submit(inner, x).result()", cells)
    kept = client.submit(cells["inner"], 1)
    assert client.submit(cells["outer"], 1).result() == kept.result() == 2


def test_a_function_is_sent_once(client: Client) -> None:
    cells: dict[str, Any] = {"__name__": "__main__"}
    exec("def double(x): return 2 * x", cells)
    sent = []
    send = client._session.connection.send

    def counted(kind: str, *fields: Any, parcels: Any = ()) -> None:
        sent.append(len(parcels))
        send(kind, *fields, parcels=parcels)

    client._session.connection.send = counted
    try:
        assert client.gather([client.submit(cells["double"], i) for i in range(20)]) == list(range(0, 40, 2))
    finally:
        client._session.connection.send = send
    assert sum(sent) == 1


def test_a_constant_of_many_calls_is_packed_once(client: Client) -> None:
    numpy = pytest.importorskip("numpy")
    big = numpy.ones(1000)
    packed = []
    pack = client._session.pack
    client._session.pack = lambda value: packed.append(value) or pack(value)  # type: ignore[method-assign]
    futures = client.map(lambda i, array: i * array.sum(), range(5), [big] * 5)
    assert client.gather(futures) == [0, 1000, 2000, 3000, 4000]
    assert len([value for value in packed if value is big]) == 1


# -- futures -----------------------------------------------------------------------------------------------------------


def test_a_future_is_collected_while_the_client_is_locked(client: Client) -> None:
    """A garbage collection may come at any point: giving a future up takes no lock."""
    future = client.submit(inc, 1, pure=False)
    future.result()
    with client._session._lock:
        del future
        gc.collect()
    until(lambda: not client._session.states)


def test_callbacks_are_called_in_the_order_in_which_they_were_added(client: Client) -> None:
    called: list[int] = []
    future = client.submit(inc, 1)
    for number in range(5):
        future.add_done_callback(lambda _, number=number: called.append(number))  # type: ignore[misc]
    until(lambda: len(called) == 5)
    assert called == [0, 1, 2, 3, 4]


def test_a_callback_that_raises_hinders_no_other(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    called: list[Future] = []
    future = client.submit(inc, 1)
    future.add_done_callback(lambda _: fail("callback"))
    future.add_done_callback(called.append)
    until(lambda: called)
    assert "callback" in caplog.text


def test_a_callback_may_wait_for_other_futures(client: Client) -> None:
    called: list[Any] = []
    future = client.submit(inc, 1)
    future.add_done_callback(lambda done: called.append(client.submit(inc, done).result()))
    until(lambda: called)
    assert called == [3]


def test_a_future_is_awaited_in_any_loop(client: Client) -> None:
    async def steps() -> list[Any]:
        return list(await asyncio.gather(*client.map(inc, range(5))))

    assert asyncio.run(steps()) == [1, 2, 3, 4, 5]


def test_an_awaited_future_has_a_timeout(client: Client, gate: Path) -> None:
    async def steps() -> Any:
        return await asyncio.wait_for(client.submit(wait_for, str(gate), 1), 0.05)  # type: ignore[arg-type]

    with pytest.raises(TimeoutError):
        asyncio.run(steps())


def test_a_mutable_result_is_not_shared_between_calls(cluster: LocalCluster, client: Client) -> None:
    future = client.submit(list, (1, 2))
    first = future.result()
    first.append(3)
    assert future.result() == ([1, 2] if cluster.processes else [1, 2, 3])


def test_a_released_future_is_no_argument(client: Client) -> None:
    future = client.submit(inc, 1, pure=False)
    future.release()
    with pytest.raises(ValueError, match="released"):
        client.submit(inc, future)


def test_an_interrupt_ends_the_wait_and_nothing_else(client: Client, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 5)
    interrupted(future.result)
    assert future.status == "pending"
    gate.touch()
    assert future.result() == 5


def test_what_an_interrupt_left_running_ends_with_its_run(client: Client, gate: Path) -> None:
    futures = client.map(wait_for, [str(gate)] * 8, range(8))
    interrupted(lambda: client.gather(futures))
    assert {future.status for future in futures} == {"pending"}
    run = taskloom.last_run()
    assert run is not None
    run.cancel()
    for future in futures:
        with pytest.raises(FutureCancelledError):
            future.result(timeout=60)
    assert client.submit(inc, 1, pure=False).result(timeout=60) == 2  # nothing is in its way


def test_an_interrupted_graph_leaves_futures_alone(client: Client, gate: Path, tmp_path: Path) -> None:
    kept = client.submit(inc, 1)
    begun = tmp_path / "begun"
    interrupted(lambda: client.get({"x": (begun.touch,), "y": (wait_for, str(gate), "x")}, "y"), when=begun.exists)
    assert taskloom.last_run().status == "cancelled"  # type: ignore[union-attr]
    gate.touch()
    assert client.submit(inc, kept).result() == 3


def test_an_error_keeps_its_own_traceback_however_often_it_is_raised(client: Client) -> None:
    future = client.submit(fail, "again")
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="again") as caught:
            future.result()
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, future: future.result(),
        lambda client, future: client.gather([future]),
        lambda client, future: list(as_completed([future], with_results=True)),
    ],
    ids=["result", "gather", "as_completed"],
)
def test_an_error_says_once_which_task_raised_it(client: Client, ask: Callable[..., Any], gate: Path) -> None:
    culprit = client.submit(fail, client.submit(wait_for, str(gate), "noted"), key="culprit")
    future = client.submit(inc, culprit)
    gate.touch()
    for _ in range(2):
        with pytest.raises(ValueError, match="noted") as caught:
            ask(client, future)
        (note,) = caught.value.__notes__
        assert "task 'culprit' failed in run" in note
        assert "on engine 'distributed', worker 'worker-" in note


def test_an_error_names_the_task_that_had_failed_before(client: Client) -> None:
    failed = client.submit(fail, "before", key="first")
    wait(failed)
    with pytest.raises(ValueError, match="before") as of_future:
        client.submit(inc, failed).result()
    with pytest.raises(ValueError, match="before") as of_graph:
        client.get({"b": (inc, failed)}, "b")
    for caught in (of_future, of_graph):
        (note,) = caught.value.__notes__
        assert "task 'first' failed in run" in note
        assert "worker 'worker-" in note


def test_a_failed_future_is_replayed(client: Client) -> None:
    begin_burst()
    future = client.submit(divide, client.submit(inc, 4), by=[0])
    wait(future)
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    here = threading.get_ident()
    with pytest.raises(ZeroDivisionError, match=f"5 in {here}"):
        run.failure.replay()


def test_a_released_future_cannot_be_replayed(client: Client) -> None:
    begin_burst()
    future = client.submit(fail, "released")
    wait(future)
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    future.release()
    client.submit(inc, 1).result()
    with pytest.raises(ValueError, match="keep the future"):
        run.failure.replay()


def test_a_traceback_leads_from_the_call_to_the_function(client: Client) -> None:
    future = client.submit(fail, "short")
    with pytest.raises(ValueError, match="short") as caught:
        future.result()
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "fail"
    assert not {"block", "bring", "_result", "_bring"}.intersection(frames)


def test_a_closed_cluster_and_a_client_left_without_it_say_so() -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False)
    with Client(cluster) as client:
        cluster.close()
        with pytest.raises(RuntimeError, match=r"the cluster was closed[.]$"):
            client.submit(inc, 1).result(10)
        assert "closed" in cluster._repr_html_()
        assert cluster.workers == cluster.memory == {}
        assert "cannot reach its cluster" in repr(client)
        assert "cannot reach its cluster" in client._repr_html_()


def test_a_hostile_name_of_a_cluster_is_escaped_and_cut() -> None:
    with LocalCluster(1, 1, processes=False, name="<script>" * 1000) as cluster:
        assert "<script>" not in cluster._repr_html_()
        assert len(repr(cluster)) < 200
        assert len(cluster.scheduler_address) < 200


def test_a_worker_that_ends_does_not_disturb_who_looks_at_its_cluster(client: Client) -> None:
    cluster = client.cluster
    assert cluster is not None
    number = next(iter(cluster.workers))
    worker = cluster._coordinator.scheduler.workers[number]
    stands, goes_on = threading.Event(), threading.Event()
    cluster._coordinator.call(lambda: (stands.set(), goes_on.wait(PATIENCE)))  # it would miss the worker, too
    assert stands.wait(PATIENCE)
    process = cluster._coordinator.crew.workers.pop(number)  # as the coordinator's thread does when it buries one
    try:
        assert cluster.memory[worker.name]["status"] == "closed"
        assert "closed" in client._repr_html_()
    finally:
        cluster._coordinator.crew.workers[number] = process
        goes_on.set()


def test_a_hostile_key_is_escaped_and_cut(client: Client) -> None:
    future = client.submit(inc, 1, key="<script>alert(1)</script>" * 100)
    assert "<script>" not in future._repr_html_()
    assert len(repr(future)) < 400


def test_a_future_inside_of_an_object_becomes_one_in_the_task(cluster: LocalCluster, client: Client) -> None:
    """Where it cannot be seen, it is pickled: the task finds a future of the same key."""
    from functools import partial

    future = client.submit(inc, 1)
    function = partial(_result_of, future)
    assert client.submit(function).result(20) == 2


def _result_of(future: Any) -> Any:
    return future.result()


def test_many_threads_submit_and_wait(client: Client) -> None:
    def work(n: int) -> int:
        return sum(client.submit(inc, i).result() for i in range(n, n + 50))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [0, 0, 100, 100])) == [1275, 1275, 6275, 6275]


def test_futures_are_kept_by_fire_and_forget_until_they_are_done(client: Client, gate: Path, tmp_path: Path) -> None:
    path = tmp_path / "done"
    fire_and_forget(client.submit(lambda: (wait_for(str(gate)), path.touch()), pure=False))
    gc.collect()
    gate.touch()
    until(path.exists)
    until(lambda: not client._session.states)


def test_what_was_fired_and_forgotten_is_done_although_its_client_has_left(
    cluster: LocalCluster, client: Client, gate: Path, tmp_path: Path
) -> None:
    path = tmp_path / "done"
    leaving = Client(cluster, set_as_default=False)
    waits = leaving.submit(wait_for, str(gate), pure=False)
    stopped = leaving.submit(wait_for, str(tmp_path / "never"), pure=False)
    fire_and_forget(leaving.submit(lambda _: path.touch(), waits, key="fired"))
    until(lambda: stopped.key in str(client.processing()))
    del waits
    leaving.close()
    until(lambda: stopped.key not in str(client.processing()))
    gate.touch()
    until(path.exists)
    check_nothing_is_left_of(leaving, cluster)


def test_what_was_fired_and_forgotten_may_fail_after_its_client_has_left(
    cluster: LocalCluster, client: Client, gate: Path
) -> None:
    leaving = Client(cluster, set_as_default=False)
    fire_and_forget(leaving.submit(fail, leaving.submit(wait_for, str(gate), pure=False), key="fired"))
    fire_and_forget(leaving.submit(inc, 1))
    leaving.close()
    client.scheduler_info()
    assert leaving._session.connection.number in cluster._coordinator.scheduler.clients
    gate.touch()
    check_nothing_is_left_of(leaving, cluster)


def check_nothing_is_left_of(client: Client, cluster: LocalCluster) -> None:
    number, coordinator = client._session.connection.number, cluster._coordinator
    until(lambda: number not in coordinator.scheduler.clients and number not in coordinator.clients)
    assert not [id for id in (*coordinator.scheduler.tasks, *coordinator.scheduler.functions) if id >> SHIFT == number]


# -- errors at the door ------------------------------------------------------------------------------------------------


def test_an_error_names_the_task_whose_argument_stays(cluster: LocalCluster, client: Client) -> None:
    if not cluster.processes:
        pytest.skip("nothing is pickled between threads")
    with pytest.raises(taskloom.SerializationError, match=r"argument of task 'my-key', of type lock"):
        client.submit(id, threading.Lock(), key="my-key")


def test_an_error_names_the_task_whose_function_stays(cluster: LocalCluster, client: Client) -> None:
    if not cluster.processes:
        pytest.skip("nothing is pickled between threads")
    lock = threading.Lock()
    with pytest.raises(taskloom.SerializationError, match=r"function <lambda> of task"):
        client.get({"x": (lambda: lock,)}, "x")


def test_what_cannot_be_used_is_named(client: Client) -> None:
    for options, word in (
        ({"retries": -1}, "retries=-1"),
        ({"priority": 1.5}, "priority=1.5"),
        ({"workers": []}, "workers="),
        ({"resources": {"GPU": "x"}}, "GPU"),
    ):
        with pytest.raises(ValueError, match=word):
            client.submit(inc, 1, **options)  # type: ignore[arg-type]


def test_an_unknown_worker_is_named_with_those_there_are(client: Client) -> None:
    with pytest.raises(ValueError, match=r"no worker 'worker-99'.*worker-0"):
        client.run(os.getpid, workers=["worker-99"])


def test_errors_is_raise_or_skip(client: Client) -> None:
    with pytest.raises(ValueError, match="errors='drop'"):
        client.gather([], errors="drop")


# -- graphs and records ------------------------------------------------------------------------------------------------


def test_a_graph_is_a_run(client: Client) -> None:
    assert client.get({"a": 1, "b": (inc, "a"), "c": (inc, "b")}, ["b", "c"]) == [2, 3]
    run = taskloom.last_run()
    assert run is not None
    assert (run.engine, run.status, run.n_done) == ("distributed", "finished", 2)
    assert {worker.name for worker in run.workers} <= {"worker-0", "worker-1"}


def test_a_failed_graph_keeps_the_inputs(client: Client) -> None:
    with pytest.raises(ValueError, match="5"):
        client.get({"a": (inc, 4), "b": (fail, "a")}, "b")
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    assert run.failure.key == "b"
    assert run.failure.inputs == (5,)
    with pytest.raises(ValueError, match="5"):
        run.failure.replay()


def test_a_run_is_cancelled(client: Client, gate: Path) -> None:
    class Canceller:
        def run_started(self, run: Any) -> None:
            threading.Timer(0.2, run.cancel).start()

    with taskloom.subscribe(Canceller()), pytest.raises(KeyboardInterrupt, match="was cancelled"):
        client.get({"x": (wait_for, str(gate))}, "x")


def test_futures_in_a_graph(client: Client) -> None:
    future = client.submit(inc, 1)
    graph = {"a": future, "b": (inc, "a"), "c": (sum, [future, "b"]), "d": [future, 1]}
    assert client.get(graph, ["a", "b", "c", "d"]) == [2, 3, 5, [2, 1]]


def test_a_failed_future_in_a_graph(client: Client) -> None:
    with pytest.raises(ValueError, match="input"):
        client.get({"a": client.submit(fail, "input"), "b": (inc, "a")}, "b")


def test_submitted_futures_are_a_run(client: Client) -> None:
    client.gather(client.map(inc, range(10)))
    until(lambda: taskloom.last_run() is not None and taskloom.last_run().n_done == 10)  # type: ignore[union-attr]


def test_large_constants_of_a_graph(client: Client) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000)
    total = client.get({"a": array, "b": (numpy.sum, "a"), "c": (numpy.max, "a")}, ["b", "c"])
    assert total == [array.sum(), array.max()]


def test_the_default_scheduler_is_the_newest(client: Client) -> None:
    (pid,) = taskloom.compute(taskloom.delayed(threading.get_native_id)())
    assert pid != threading.get_native_id()
    with config.set(scheduler="sync"):
        (pid,) = taskloom.compute(taskloom.delayed(threading.get_native_id)())
        assert pid == threading.get_native_id()
    assert config.get("scheduler") is client


def test_a_closed_client_is_no_scheduler(cluster: LocalCluster) -> None:
    client = Client(cluster)
    assert config.get("scheduler") is client
    client.close()
    assert config.get("scheduler") is not client


def test_the_scheduler_argument_takes_a_client(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        assert taskloom.delayed(inc)(1).compute(scheduler=client) == 2
        (value,) = taskloom.persist(taskloom.delayed(inc)(1), scheduler=client)
        assert value.compute(scheduler=client) == 2


def test_persisted_keys_are_not_computed_again(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    def note(x: int) -> int:
        with open(path, "a") as file:
            file.write("x")
        return x

    value = taskloom.delayed(note, pure=True)(1)
    kept = client.persist(value)
    wait(kept)
    assert client.compute(value + 1).result() == 2
    assert path.read_text() == "x"


# -- views -------------------------------------------------------------------------------------------------------------


def test_the_task_stream(client: Client) -> None:
    with get_task_stream(client) as stream:
        client.get({"x": (inc, 1)}, "x")
    (row,) = stream.data
    assert row["key"] == "x"
    assert row["name"] == "x"
    assert row["worker"] in ("worker-0", "worker-1")
    assert row["startstops"][0]["start"] <= row["startstops"][0]["stop"] <= time.time()


def test_the_profile(client: Client, tmp_path: Path) -> None:
    start = time.time()
    client.get({("sleep", i): (time.sleep, 0.01) for i in range(4)}, [("sleep", i) for i in range(4)])
    assert client.profile(start=start)["sleep"] >= 0.04


def test_a_performance_report(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    with performance_report(tmp_path / "report.html"):
        client.get({"<b>x": (inc, 1)}, "<b>x")
        client.gather(client.map(inc, range(3)))
    text = (tmp_path / "report.html").read_text()
    assert "worker-" in text
    assert "<b>x" not in text


def test_the_dashboard(client: Client) -> None:
    pytest.importorskip("bokeh")
    link = client.dashboard_link
    assert link is not None
    assert link.startswith("http")
    assert client.dashboard_link == link


def test_no_dashboard() -> None:
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=False) as client:
        assert client.dashboard_link is None
        assert client.cluster is not None
        assert client.cluster.dashboard_link is None


def test_progress_waits_in_a_script(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    futures = client.map(inc, range(3))
    progress(futures)
    assert all(future.done() for future in futures)
    assert capsys.readouterr().out == ""


def test_a_failure_can_be_replayed_when_an_older_record_of_futures_settles(client: Client) -> None:
    client.submit(inc, 1).result()
    older = taskloom.last_run()
    assert older is not None
    with pytest.raises(ValueError, match="3"):
        client.get({"x": (fail, 3)}, "x")
    until(lambda: older.status != "running")
    failed = taskloom.last_run()
    assert failed is not None
    assert failed.failure is not None
    with pytest.raises(ValueError, match="3"):
        failed.failure.replay()


def test_progress_in_a_notebook_holds_what_nobody_else_has(
    client: Client, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setitem(presenters, "progress", shown.append)
    progress(client.map(wait_for, [str(gate)] * 8, range(8)), notebook=True)
    gate.touch()
    (run,) = shown
    until(lambda: run.status != "running")
    assert (run.status, run.n_done) == ("finished", 8)


# -- clusters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cores", "sizes"), [(1, (1, 1)), (4, (4, 1)), (6, (3, 2)), (8, (4, 2)), (32, (8, 4))])
def test_how_cores_become_workers(cores: int, sizes: tuple[int, int]) -> None:
    assert nprocesses_nthreads(cores) == sizes


@pytest.mark.parametrize("variable", ["TASKLOOM_THREADS_PER_WORKER", "DASK_THREADS_PER_WORKER"])
def test_threads_per_worker_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(variable, "3")
        config.refresh()  # the environment is read once
        with LocalCluster(n_workers=1, processes=False) as cluster:
            until(lambda: cluster.workers)
            assert [worker.threads for worker in cluster.workers.values()] == [3]
    config.refresh()


def test_a_cluster_is_scaled(client: Client) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster, cluster.get_client() as other:
        cluster.scale(3)
        other.wait_for_workers(3, timeout=10)
        assert len(other.nthreads()) == 3


def test_a_cluster_is_closed_twice() -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False)
    client = cluster.get_client()
    future = client.submit(inc, 1)
    cluster.close()
    cluster.close()
    assert cluster.status == "closed"
    with pytest.raises(RuntimeError, match="cannot reach"):
        client.submit(inc, 2)
    assert future.status in ("finished", "lost")
    client.close()


@pytest.mark.parametrize("option", ["host", "security", "protocol", "worker_class", "nonsense"])
def test_other_options_of_a_cluster_are_refused(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        LocalCluster(**{option: 1})


@pytest.mark.parametrize(
    "options",
    [
        {"n_workers": -1},
        {"threads_per_worker": 0},
        {"memory_limit": "much"},
        {"n_workers": 1.5},
        {"resources": "GPU"},
        {"resources": {"GPU": "one"}},
        {"resources": {"GPU": -1}},
        {"env": "A=1"},
    ],
)
def test_what_a_cluster_cannot_use_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(taskloom.ConfigError, match=next(iter(options))):
        LocalCluster(**options)


def test_cluster_options_for_a_cluster_that_is_there(cluster: LocalCluster) -> None:
    with pytest.raises(TypeError, match="n_workers"):
        Client(cluster, n_workers=2)


def test_resources() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, resources={"GPU": 1}) as cluster,
        cluster.get_client() as client,
    ):
        assert client.submit(inc, 1, resources={"GPU": 1}).result(10) == 2


def test_what_no_worker_can_do_fails_visibly(client: Client) -> None:
    with config.set({"distributed.no_workers_timeout": 0.1}):
        future = client.submit(inc, 1, resources={"unobtainium": 1})
        with pytest.raises(taskloom.TaskloomError, match="unobtainium"):
            future.result(10)


def test_a_client_makes_its_own_cluster_and_closes_it() -> None:
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        cluster = client.cluster
        assert client.submit(inc, 1).result() == 2
    assert cluster is not None
    assert cluster.status == "closed"


def test_an_asynchronous_client_makes_its_own_cluster() -> None:
    async def steps() -> Any:
        async with Client(n_workers=1, threads_per_worker=1, processes=False, asynchronous=True) as client:
            total = 0
            async for _, result in as_completed(client.map(inc, range(4)), with_results=True):
                total += result
            return total, client.cluster

    total, cluster = asyncio.run(steps())
    assert total == 10
    assert cluster.status == "closed"


def test_a_task_of_a_cluster_has_its_client(client: Client) -> None:
    assert client.submit(_inner, 5).result(20) == 7


def _inner(x: int) -> Any:
    return get_client().submit(inc, x).result() + 1


def test_another_process_joins_by_the_address(cluster: LocalCluster, client: Client) -> None:
    if not cluster.processes:
        pytest.skip("a cluster of threads is reached in its process only")
    future = client.submit(inc, 1, key="for-the-other-process")
    future.result()
    program = f"""
    import operator
    from taskloom.distributed import Client, Future
    with Client({cluster.scheduler_address!r}) as client:
        print(client.submit(operator.add, 1, 2).result(), Future("for-the-other-process", client).result())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["3", "2"], done.stderr


def test_an_address_that_is_none() -> None:
    with pytest.raises(taskloom.ConfigError, match="host:8786"):
        Client("nowhere")


def test_no_client_is_open() -> None:
    with pytest.raises(ValueError, match="No client is open"):
        default_client()


def test_a_process_that_ends_leaves_no_worker_behind(tmp_path: Path) -> None:
    program = """
    from taskloom.distributed import Client
    import os
    if __name__ == "__main__":
        client = Client(n_workers=2, threads_per_worker=1)
        print(*client.run(os.getpid).values())
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(program))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_what_happens_when_the_cluster_is_gone() -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1)
    client = Client(cluster, set_as_default=False)
    futures = client.map(time.sleep, [60, 61])
    timer = threading.Timer(0.2, cluster.close)
    timer.start()
    with pytest.raises(FutureCancelledError, match="lost"):
        client.gather(futures)
    assert {future.status for future in futures} == {"lost"}
    client.close()
    timer.join()


def test_what_closures_refer_to_is_not_kept_for_ever(cluster: LocalCluster, client: Client) -> None:
    """Of functions that are pickled each time only a few are remembered."""
    if not cluster.processes:
        pytest.skip("nothing is pickled between threads")

    class Large:
        pass

    alive = weakref.WeakSet()

    def closure() -> Callable[[], int]:
        large = Large()
        alive.add(large)
        return lambda: 1 if large else 0

    for _ in range(100):
        assert client.submit(closure(), pure=False).result() == 1
    gc.collect()
    assert len(alive) < 50


def test_functions_that_are_not_used_any_more_are_dropped(cluster: LocalCluster, client: Client) -> None:
    if not cluster.processes:
        pytest.skip("a cluster of threads remembers more of them, as they cost nothing")
    scheduler = cluster._coordinator.scheduler
    before = len(scheduler.functions)
    for number in range(100):
        state = [number]
        client.submit(lambda state=state: state, pure=False).result()
    client.submit(inc, 1).result()
    until(lambda: len(scheduler.functions) < before + 50)


def test_what_ran_is_reported_in_a_loop(cluster: LocalCluster, tmp_path: Path) -> None:
    async def run() -> Any:
        async with Client(cluster, asynchronous=True) as client:
            path = tmp_path / "report.html"
            async with performance_report(path), get_task_stream(client) as stream:
                assert await client.submit(inc, 1, pure=False) == 2
            assert taskloom.delayed(inc)(1).compute() == 2  # waits, as everywhere
            return path.exists(), [row["name"] for row in stream.data], await client.profile(key="inc")

    written, names, profile = asyncio.run(run())
    assert written
    assert names[-1:] == ["inc"]
    assert list(profile) == ["inc"]


def test_batches_complete_in_a_loop(cluster: LocalCluster) -> None:
    async def run() -> Any:
        async with Client(cluster, asynchronous=True) as client:
            batches = as_completed(client.map(inc, range(3)), with_results=True).batches()
            return sorted([value async for batch in batches for _, value in batch])

    assert asyncio.run(run()) == [1, 2, 3]


def test_a_graph_is_computed_in_a_loop(cluster: LocalCluster) -> None:
    async def run() -> Any:
        async with Client(cluster, asynchronous=True) as client:
            return await client.get({"x": (inc, 1), "y": (inc, "x")}, ["x", "y"])

    assert asyncio.run(run()) == [2, 3]


# -- what is said ------------------------------------------------------------------------------------------------------


def test_a_timeout_says_of_what(client: Client, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), key="late")
    for wait_for_it in (future.result, future.exception, future.traceback):
        with pytest.raises(TimeoutError, match=r"'late' is pending after 0\.01 s"):
            wait_for_it(timeout=0.01)


def test_a_timeout_says_of_what_in_a_loop(cluster: LocalCluster, gate: Path) -> None:
    async def run() -> None:
        async with Client(cluster, asynchronous=True) as client:
            await client.submit(wait_for, str(gate), key="late in a loop").result(timeout=0.01)

    with pytest.raises(TimeoutError, match="'late in a loop' is pending"):
        asyncio.run(run())


def test_a_timeout_that_a_task_raises_is_its_own(client: Client) -> None:
    def late() -> None:
        raise TimeoutError("of the task")

    with pytest.raises(TimeoutError, match="of the task"):
        client.submit(late).result(timeout=20)


def test_a_closed_client_says_that_it_is_closed(cluster: LocalCluster) -> None:
    client = Client(cluster, set_as_default=False)
    client.close()
    for action in (lambda: client.submit(inc, 1), lambda: client.map(inc, [1]), client.scheduler_info):
        with pytest.raises(RuntimeError, match="This client is closed"):
            action()


@pytest.mark.parametrize("address", ["unix:///no/such", "unix:///tmp/such"])
def test_an_address_of_no_cluster_is_said(address: str) -> None:
    with pytest.raises(ConnectionError, match=f"There is no cluster at {address}"):
        Client(address)


# -- the dashboard -----------------------------------------------------------------------------------------------------


def test_a_dashboard_is_at_the_port_that_is_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for address in (f":{port}", port, f"127.0.0.1:{port}"):
        with LocalCluster(n_workers=0, processes=False, dashboard_address=address) as cluster:
            assert f":{port}/" in str(cluster.dashboard_link)


def test_a_port_that_is_taken_is_warned_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with LocalCluster(n_workers=0, processes=False, dashboard_address=port) as cluster:
            with pytest.warns(UserWarning, match=f"cannot be at port {port}"):
                link = cluster.dashboard_link
            assert link is not None
            assert f":{port}/" not in link


@pytest.mark.parametrize("address", ["0.0.0.0:8787", "example.org:8787", ":http", 70_000])
def test_a_dashboard_is_served_to_this_machine_only(address: Any) -> None:
    with pytest.raises(taskloom.ConfigError, match="dashboard_address="):
        LocalCluster(n_workers=0, processes=False, dashboard_address=address)


# -- what a person is told ---------------------------------------------------------------------------------------------


def test_an_asynchronous_client_that_was_not_started_says_what_to_do() -> None:
    client = Client(asynchronous=True)
    for action in (lambda: client.submit(inc, 1), lambda: client.map(inc, [1]), lambda: client.dashboard_link):
        with pytest.raises(RuntimeError, match=r"has not been started.*async with Client"):
            action()
    with pytest.raises(AttributeError, match="no attribute 'sumbit'"):
        client.sumbit  # noqa: B018


@pytest.fixture
def one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Futures go on in the record of those before, however long a slow machine takes until it submits them."""
    monkeypatch.setattr("taskloom.engines.cluster.client.books.QUIET", PATIENCE)
    begin_burst()


def test_the_record_of_futures_does_not_count_the_time_after_them(client: Client, one_record: None) -> None:
    client.gather(client.map(inc, range(5), pure=False))
    run = taskloom.last_run()
    assert run is not None
    took = run.duration
    assert (run.n_done, took) == (5, run.duration)
    assert f"5/5 tasks, {run.status}" in str(run.summary())
    client.submit(inc, 1, pure=False).result()
    assert run.n_tasks == 6
    assert run.duration > took


def test_scheduler_info_has_the_fields_of_dask(client: Client) -> None:
    client.run(os.getpid)  # the processes are there, and have memory
    before = client.scheduler_info()
    assert 0 <= time.time() - before["started"] < 3600
    for worker in before["workers"].values():
        assert worker["status"] == "running"
        assert before["started"] <= worker["last_seen"] <= time.time()
        assert worker["services"] == {}
        assert Path(worker["local_directory"]).is_dir()
        assert worker["metrics"]["memory"] > 1_000_000
        assert worker["metrics"]["cpu"] >= 0.0


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_what_was_persisted_is_brought_to_other_engines(client: Client, scheduler: str) -> None:
    kept = client.persist(taskloom.delayed(abs)(-1))
    assert taskloom.compute(kept, scheduler=scheduler) == (1,)
    assert taskloom.delayed(inc)(kept).compute(scheduler=scheduler) == 2
    future = client.submit(fail, "no use")
    with pytest.raises(ValueError, match="no use"):
        taskloom.delayed(inc)(future).compute(scheduler=scheduler)


def test_what_was_persisted_on_a_cluster_that_is_gone_says_so() -> None:
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        kept = client.persist(taskloom.delayed(lambda: [1])())
        wait(kept)
    with pytest.raises(FutureCancelledError):
        taskloom.compute(kept, scheduler="sync")


def test_each_error_says_how_to_replay_its_own_task(client: Client, one_record: None) -> None:
    notes = []
    for word in ("first", "second"):
        future = client.submit(fail, word)
        with pytest.raises(ValueError, match=word) as caught:
            future.result()
        notes.append(caught.value.__notes__[-1].rpartition(": ")[2])
    assert notes[0] == "taskloom.last_run().failure.replay()"
    for word, command in zip(("first", "second"), notes, strict=True):
        with pytest.raises(ValueError, match=word):
            eval(command, {"taskloom": taskloom})


def test_an_interrupt_that_comes_in_a_finalizer_is_not_lost() -> None:
    class Struck:
        def close(self) -> None:
            raise KeyboardInterrupt

    def drop_and_wait() -> None:
        Arrival(Struck())
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        drop_and_wait()
