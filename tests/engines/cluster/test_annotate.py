"""How tasks are to be run, said by calls and by blocks: a cluster heeds it, for each task."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom.distributed import Client, get_client
from taskloom.engines.cluster.client.asked import asked_for, give_options, options_for
from taskloom.engines.cluster.scheduler.tasks import Options, Slice
from taskloom.errors import TaskloomError
from taskloom.graph import annotated
from tests.engines.cases import PATIENCE

from .simulation import SMALL, Cluster, finish, task
from .simulation import Client as SimulatedClient


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    with Client(n_workers=2, threads_per_worker=1, resources={"GPU": 1}, set_as_default=False) as client:
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    return shared


@pytest.fixture
def simulated(cluster: Cluster) -> SimulatedClient:
    return cluster.add_client()


def name_of_worker(*_: Any) -> str:
    from taskloom.engines.cluster.worker.place import current_task

    here = current_task()
    assert here is not None
    return here[0].name


def fail_once(path: str) -> str:
    if not os.path.exists(path):
        Path(path).touch()
        raise OSError("the first time")
    return "done"


def wait_for(path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def note(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def overlap(folder: str, i: int) -> int:
    """How many run at the same time as this one."""
    mine = Path(folder, str(i))
    mine.touch()
    time.sleep(0.05)
    count = len(list(Path(folder).iterdir()))
    mine.unlink()
    return count


# -- what is asked for -------------------------------------------------------------------------------------------------


def test_a_call_says_more_than_the_blocks_that_it_is_in() -> None:
    assert asked_for() == {}
    with taskloom.annotate(priority=1, retries=3, workers=["worker-0"]):
        assert asked_for() == {"priority": 1, "retries": 3, "workers": ["worker-0"]}
        assert asked_for(priority=2, retries=0) == {"priority": 2, "retries": 0, "workers": ["worker-0"]}
        assert asked_for(allow_other_workers=True)["allow_other_workers"] is True


def test_what_makes_no_sense_is_refused_when_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match="allow_other_workers="):
        asked_for(allow_other_workers=True)
    with pytest.raises(ValueError, match="priority='high' cannot be used"):
        asked_for(priority="high")


def test_options_of_a_key() -> None:
    assert options_for({}) is None
    assert options_for({"priority": len}, "abc") == Options(priority=3)
    assert options_for({"workers": lambda key: key[1]}, ("x", 2)) == Options(workers=frozenset({"worker-2"}))


def test_options_of_a_slice() -> None:
    slice = give_options(Slice(100, ["a", "b"], [], [], []), {"priority": 1, "retries": 2}, {1: {"priority": 5}})
    assert slice.options == Options(priority=1, retries=2)
    assert slice.own == {101: Options(priority=5, retries=2)}
    slice = give_options(Slice(100, ["a", "bcd"], [], [], []), {"priority": len})
    assert slice.options is None
    assert slice.own == {100: Options(priority=1), 101: Options(priority=3)}


def test_the_scheduler_takes_options_of_each_task(cluster: Cluster, simulated: SimulatedClient) -> None:
    slice_options = Options(retries=1)
    ids = cluster.submit(
        simulated,
        [(f"x{i}", SMALL, []) for i in range(3)],
        options=slice_options,
        different={0: Options(priority=5), 2: None},
    )
    assert [task(cluster, id).options for id in ids] == [Options(priority=5), slice_options, Options()]
    assert min(task(cluster, id).rank for id in ids) == task(cluster, ids[0]).rank
    cluster.add_worker()
    finish(cluster)
    assert all(simulated.status[id] == "finished" for id in ids)


# -- a cluster ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["worker-0", "worker-1"])
def test_workers_of_what_is_submitted_in_a_block(client: Client, name: str) -> None:
    with taskloom.annotate(workers=name):
        one = client.submit(name_of_worker, pure=False)
        many = client.map(name_of_worker, range(5), pure=False)
    assert {one.result(), *client.gather(many)} == {name}


def test_workers_of_what_is_computed_in_a_block(client: Client) -> None:
    values = [taskloom.delayed(name_of_worker)(i, dask_key_name=f"made-outside-{i}") for i in range(4)]
    with taskloom.annotate(workers=[1]):
        assert set(client.gather(client.compute(values))) == {"worker-1"}
        assert set(client.gather(client.compute(client.persist(values)))) == {"worker-1"}
    with taskloom.annotate(workers=[0]):
        assert set(taskloom.compute(*values, scheduler=client)) == {"worker-0"}
        graph = {f"x{i}": (name_of_worker, i) for i in range(4)}
        assert set(client.get(graph, list(graph))) == {"worker-0"}


def test_tasks_of_one_graph_run_in_different_ways(client: Client) -> None:
    with taskloom.annotate(workers=0):
        left = [taskloom.delayed(name_of_worker)(i) for i in range(3)]
    with taskloom.annotate(workers=1):
        right = [taskloom.delayed(name_of_worker)(value) for value in left]
    both = taskloom.delayed(list)([left, right])
    expected = [["worker-0"] * 3, ["worker-1"] * 3]
    assert both.compute(scheduler=client) == expected
    assert client.compute(both).result() == expected


def test_what_a_task_was_made_with_comes_before_what_the_call_says(client: Client) -> None:
    with taskloom.annotate(workers=0):
        value = taskloom.delayed(name_of_worker)()
    with taskloom.annotate(workers=1):
        assert value.compute(scheduler=client) == "worker-0"
    assert client.compute(value, workers=1, sync=True) == "worker-0"


def test_a_function_of_the_key_says_where(client: Client) -> None:
    keys = [("place", i) for i in range(6)]
    with taskloom.annotate(workers=lambda key: f"worker-{key[1] % 2}"):
        futures = client.map(name_of_worker, range(6), key=keys)
        graph = dict.fromkeys([("again", i) for i in range(6)], (name_of_worker,))
        found = client.get(graph, list(graph))
    assert client.gather(futures) == found == ["worker-0", "worker-1"] * 3


def test_layers_of_a_graph(client: Client) -> None:
    high_level_graph = pytest.importorskip("dask.highlevelgraph")
    layers = {
        f"layer{i}": high_level_graph.MaterializedLayer(
            {(f"layer{i}", j): (name_of_worker, j) for j in range(3)}, annotations={"workers": f"worker-{i}"}
        )
        for i in range(2)
    }
    dsk = high_level_graph.HighLevelGraph(layers, {name: set() for name in layers})
    keys = [[(name, j) for j in range(3)] for name in layers]
    expected = [["worker-0"] * 3, ["worker-1"] * 3]
    assert client.get(dsk, keys) == expected
    futures = client.get(dsk, keys, sync=False)
    assert client.gather(futures) == expected


def test_retries(client: Client, tmp_path: Path) -> None:
    with taskloom.annotate(retries=1):
        assert client.submit(fail_once, str(tmp_path / "submit")).result() == "done"
        value = taskloom.delayed(fail_once)(str(tmp_path / "delayed"))
    assert client.compute(value).result() == "done"
    with taskloom.annotate(retries=1), pytest.raises(OSError, match="the first time"):
        client.submit(fail_once, str(tmp_path / "none"), retries=0).result()


def test_priorities_within_a_graph(client: Client, tmp_path: Path) -> None:
    order, gate = str(tmp_path / "order"), str(tmp_path / "gate")
    with taskloom.annotate(workers=0):
        blocker = client.submit(wait_for, gate)
        values = []
        for text, priority in (("a", -1), ("b", 0), ("c", 3), ("d", 2)):
            with taskloom.annotate(priority=priority):
                values.append(taskloom.delayed(note)(order, text))
    futures = client.compute(values)
    client.submit(abs, -1, workers=1, pure=False).result()  # the coordinator has the others by now
    Path(gate).touch()
    client.gather([blocker, *futures])
    assert Path(order).read_text() == "cdba"


def test_resources(client: Client, tmp_path: Path) -> None:
    with taskloom.annotate(resources={"GPU": 1}, workers=0, allow_other_workers=False):
        values = [taskloom.delayed(overlap)(str(tmp_path), i) for i in range(3)]
    assert set(client.gather(client.compute(values))) == {1}


def test_resources_that_nobody_has(client: Client) -> None:
    with taskloom.config.set({"distributed.no_workers_timeout": 0.05}), taskloom.annotate(resources={"TPU": 1}):
        future = client.submit(abs, -1, pure=False)
        with pytest.raises(TaskloomError, match="needs a worker with 1 TPU"):
            future.result(PATIENCE)


def test_others_may_where_none_of_those_is_there(client: Client) -> None:
    with taskloom.annotate(workers="worker-9", allow_other_workers=True):
        assert client.submit(abs, -5, pure=False).result() == 5
        assert taskloom.delayed(abs)(-6).compute(scheduler=client) == 6


def test_callbacks_see_annotated_tasks(client: Client) -> None:
    with taskloom.annotate(workers=1):
        value = taskloom.delayed(name_of_worker)()
    seen: list[Any] = []
    with taskloom.Callback(posttask=lambda key, *_: seen.append(key)):
        assert value.compute(scheduler=client) == "worker-1"
    assert seen == [value.key]


def nested() -> str:
    return get_client().submit(name_of_worker, pure=False, workers="worker-1").result()


def test_a_block_is_not_the_tasks_that_run_in_it(client: Client) -> None:
    with taskloom.annotate(workers="worker-0"):
        assert client.submit(nested, pure=False).result() == "worker-1"
    threads = Client(n_workers=1, threads_per_worker=2, processes=False, set_as_default=False)
    with threads, taskloom.annotate(resources={"GPU": 1}):
        graph = {"x": annotated("x", (submits,), {"resources": None})}
        assert threads.get(graph, "x") == 3


def submits() -> int:
    return int(get_client().submit(abs, -3, pure=False).result(PATIENCE))


def test_threads_have_blocks_of_their_own(client: Client) -> None:
    found = []
    with taskloom.annotate(workers="worker-0"):
        thread = threading.Thread(target=lambda: found.append(asked_for()))
        thread.start()
        thread.join()
    assert found == [{}]


def test_an_error_in_a_key_function_is_the_users(client: Client) -> None:
    with taskloom.annotate(priority=lambda key: {}[key]), pytest.raises(KeyError):
        client.submit(abs, -1, key="mine-alone")
    with taskloom.annotate(priority=lambda key: "high"), pytest.raises(ValueError, match="priority='high'"):
        client.submit(abs, -1, key="mine-alone")
    assert client.submit(abs, -1, key="mine-alone").result() == 1
