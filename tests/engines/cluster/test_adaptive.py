"""How many workers a cluster should have: the decisions alone, and clusters that grow and shrink."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from taskloom.distributed import Adaptive, Client, LocalCluster
from taskloom.engines.cluster.scheduler.sizing import Demand, Sizer, demand_of, first_to_go, workers_wanted
from taskloom.engines.cpus import usable_cpus
from tests.engines.cases import PATIENCE

from .simulation import BIG, LARGE, SMALL, Cluster, finish
from .simulation import Client as SimulatedClient

# -- decisions --------------------------------------------------------------------------------------------------------


def wanted(tasks: int = 0, seconds: float = 0.0, held: float = 0.0, **more: Any) -> int:
    options = {"threads": 1, "memory_limit": 1e9, "target_duration": 5.0, **more}
    return workers_wanted(Demand(tasks, seconds, held), **options)


def test_nothing_to_do_and_nothing_to_keep_wants_no_worker() -> None:
    assert wanted() == 0


def test_any_work_wants_a_worker() -> None:
    assert wanted(tasks=1, seconds=1e-6) == 1


def test_more_work_wants_more_workers() -> None:
    assert wanted(tasks=1000, seconds=50.0) == 10
    assert wanted(tasks=1000, seconds=50.0, target_duration=1.0) == 50
    assert wanted(tasks=1000, seconds=50.0, threads=4) == 3


def test_a_few_long_tasks_want_no_more_threads_than_they_can_use() -> None:
    assert wanted(tasks=3, seconds=1e6) == 3
    assert wanted(tasks=3, seconds=1e6, threads=2) == 2


def test_data_want_memory() -> None:
    assert wanted(held=1.0) == 1
    assert wanted(held=6e9) == 10
    assert wanted(held=6e9, memory_limit=inf) == 1
    assert wanted(tasks=1000, seconds=50.0, held=0.6e9) == 10


def sizes(sizer: Sizer, wishes: list[int], now: int = 0) -> list[int]:
    found = []
    for wish in wishes:
        now = sizer.size(wish, now)
        found.append(now)
    return found


def test_it_grows_at_once_and_shrinks_when_fewer_have_done_for_a_while() -> None:
    assert sizes(Sizer(0, 8, wait_count=3), [4, 0, 0, 0, 0]) == [4, 4, 4, 0, 0]


def test_a_lull_ends_without_any_leaving() -> None:
    assert sizes(Sizer(0, 8, wait_count=3), [4, 0, 4, 0, 0, 4]) == [4] * 6


def test_it_shrinks_to_the_most_that_were_wanted_meanwhile() -> None:
    assert sizes(Sizer(0, 8, wait_count=3), [6, 1, 3, 1]) == [6, 6, 6, 3]


def test_bounds() -> None:
    assert sizes(Sizer(1, 4, wait_count=1), [9, 0, 2]) == [4, 1, 2]
    assert sizes(Sizer(1, 4, wait_count=3), [0], now=9) == [4], "what is over the maximum does not wait"
    assert sizes(Sizer(2, 4, wait_count=3), [0], now=0) == [2]


def test_those_go_that_cost_least(cluster: Cluster, client: SimulatedClient) -> None:
    for _ in range(3):
        cluster.add_worker()
    cluster.submit(client, [("a", BIG, [])], workers=frozenset({"worker-0"}))
    finish(cluster)
    cluster.submit(client, [("b", SMALL, [])], workers=frozenset({"worker-2"}))
    cluster.flush()
    workers = list(cluster.scheduler.workers.values())
    assert first_to_go(workers, 3) == [1, 0, 2], "one that is idle, one with data, one that runs a task"
    assert first_to_go(workers, -1) == []


def test_demand_counts_what_runs_and_what_could(cluster: Cluster, client: SimulatedClient) -> None:
    ids = cluster.submit(client, [("x", SMALL, []), *[(f"y{i}", SMALL, [0]) for i in range(5)]])
    assert demand_of(cluster.scheduler, {}) == Demand(1, 0.5, 0.0), "the others wait for the first"
    cluster.add_worker()
    cluster.flush()
    finish(cluster)
    assert demand_of(cluster.scheduler, {}) == Demand(0, 0.0, 0.0)
    many = cluster.submit(client, [(f"z{i}", SMALL, []) for i in range(5000)])
    demand = demand_of(cluster.scheduler, {})
    assert demand.tasks == 5000
    assert demand.seconds == pytest.approx(5.0), "a millisecond each, as it was measured"
    slow = demand_of(cluster.scheduler, {many[0]: 2.0})
    assert slow.seconds == pytest.approx(10_000), "one runs for two seconds: so may the others"
    cluster.release(client, [*ids, *many])


def test_demand_counts_what_only_some_workers_may_run(cluster: Cluster, client: SimulatedClient) -> None:
    cluster.submit(client, [("gpu", SMALL, [])], resources=(("GPU", 1.0),))
    assert demand_of(cluster.scheduler, {}).tasks == 1


def test_demand_leaves_out_what_was_cancelled(cluster: Cluster, client: SimulatedClient) -> None:
    ids = cluster.submit(client, [(f"x{i}", SMALL, []) for i in range(10)])
    cluster.release(client, ids[:5])
    assert demand_of(cluster.scheduler, {}).tasks == 5


def test_demand_knows_what_is_held(cluster: Cluster, client: SimulatedClient) -> None:
    cluster.add_worker()
    cluster.submit(client, [("a", BIG, []), ("b", BIG, [])])
    finish(cluster)
    assert demand_of(cluster.scheduler, {}).held == 2 * LARGE


# -- clusters --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster_of_none() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=0, threads_per_worker=1) as cluster:
        yield cluster


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} in vain"
        time.sleep(0.01)


def pause(path: str, i: int) -> tuple[int, int]:
    """A task that ends when there have been two workers."""
    Path(path, f"{os.getpid()}").touch()
    deadline = time.monotonic() + PATIENCE
    while len(list(Path(path).iterdir())) < 2:
        assert time.monotonic() < deadline, "no second worker came"
        time.sleep(0.01)
    return i, os.getpid()


def test_from_none_to_as_many_as_are_needed_and_back_again_and_again(
    cluster_of_none: LocalCluster, tmp_path: Path
) -> None:
    cluster = cluster_of_none
    adaptive = cluster.adapt(maximum=2, interval=0.05, wait_count=2, target_duration=0.1)
    with cluster.get_client() as client:
        for turn in range(3):
            until(lambda: not cluster.workers, "waiting for all workers to go")
            place = tmp_path / str(turn)
            place.mkdir()
            futures = client.map(pause, [str(place)] * 20, range(20))
            assert [i for i, _ in client.gather(futures)] == list(range(20))
            assert len(cluster.workers) <= 2
            del futures
    assert adaptive.is_on


def test_results_are_kept_while_there_is_no_work(cluster_of_none: LocalCluster) -> None:
    cluster_of_none.adapt(maximum=2, interval=0.05, wait_count=1)
    with cluster_of_none.get_client() as client:
        large = client.submit(bytes, 1_000_000)
        assert len(large.result()) == 1_000_000
        for _ in range(10):
            time.sleep(0.05)  # looks at it
            assert len(cluster_of_none.workers) == 1, "somebody has to hold the result"
        del large
        until(lambda: not cluster_of_none.workers, "waiting for all workers to go")


def test_a_minimum_stays(cluster_of_none: LocalCluster) -> None:
    cluster_of_none.adapt(minimum=1, maximum=2, interval=0.05, wait_count=1)
    until(lambda: len(cluster_of_none.workers) == 1, "waiting for a worker")
    adaptive = cluster_of_none.adapt(minimum=2, maximum=2, interval=0.05)
    until(lambda: len(cluster_of_none.workers) == 2, "waiting for another worker")
    assert cluster_of_none.adaptive is adaptive


def test_scaling_ends_it(cluster_of_none: LocalCluster) -> None:
    first = cluster_of_none.adapt(interval=0.02)
    second = cluster_of_none.adapt(interval=0.02)
    assert not first.is_on
    assert second.is_on
    cluster_of_none.scale(1)
    assert not second.is_on
    assert cluster_of_none.adaptive is None
    until(lambda: len(cluster_of_none.workers) == 1, "waiting for a worker")
    with cluster_of_none.get_client() as client:
        assert client.submit(abs, -1).result() == 1
    second.stop()
    assert "stopped" in repr(second)


def test_stopping_leaves_the_cluster_as_it_is(cluster_of_none: LocalCluster) -> None:
    adaptive = cluster_of_none.adapt(minimum=1, interval=0.02)
    until(lambda: len(cluster_of_none.workers) == 1, "waiting for a worker")
    adaptive.stop()
    assert cluster_of_none.adaptive is None
    with cluster_of_none.get_client() as client:
        assert client.gather(client.map(abs, range(-50, 0))) == list(range(50, 0, -1))
    assert len(cluster_of_none.workers) == 1


def test_no_thread_is_left(cluster_of_none: LocalCluster) -> None:
    cluster_of_none.adapt(interval=3600)
    cluster_of_none.close()
    until(lambda: all(thread.name != "taskloom-adaptive" for thread in threading.enumerate()), "waiting for its thread")


def test_the_defaults(cluster_of_none: LocalCluster) -> None:
    adaptive = cluster_of_none.adapt()
    assert isinstance(adaptive, Adaptive)
    assert (adaptive.minimum, adaptive.maximum) == (0, usable_cpus())
    assert (adaptive.interval, adaptive.wait_count, adaptive.target_duration) == (1.0, 3, 5.0)
    assert repr(adaptive) == f"Adaptive(minimum=0, maximum={usable_cpus()}, interval=1)"
    many = usable_cpus() + 1
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False) as cluster:
        assert cluster.adapt(minimum=many).maximum == many
        until(lambda: len(cluster.workers) == many, "waiting for workers")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum": -1}, "minimum=-1 cannot be used: it takes a whole number, 0 or more"),
        ({"maximum": 0}, "maximum=0 cannot be used: it takes a whole number, 1 or more"),
        ({"minimum": 3, "maximum": 2}, "maximum=2 cannot be used: it takes a whole number, 3 or more"),
        ({"interval": "soon"}, "interval='soon' cannot be used"),
        ({"interval": 0}, "interval=0 cannot be used"),
        ({"wait_count": 1.5}, "wait_count=1.5 cannot be used"),
        ({"target_duration": -1}, "target_duration=-1 cannot be used"),
    ],
)
def test_what_cannot_be_adapted_to(cluster_of_none: LocalCluster, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_of_none.adapt(**options)
    assert cluster_of_none.adaptive is None


def test_workers_that_die_are_replaced(cluster_of_none: LocalCluster) -> None:
    cluster_of_none.adapt(maximum=1, interval=0.05)
    with Client(cluster_of_none) as client:
        pids = client.submit(os.getpid)
        first = pids.result()
        os.kill(first, 9)
        assert client.submit(os.getpid, pure=False).result() != first


def test_tasks_that_wait_for_tasks(cluster_of_none: LocalCluster) -> None:
    cluster_of_none.adapt(maximum=2, interval=0.05, wait_count=1)
    with Client(cluster_of_none) as client:
        assert client.submit(nested, 3).result(PATIENCE) == 4 * 5


def nested(depth: int) -> int:
    from taskloom.distributed import get_client

    if not depth:
        return 5
    client = get_client()
    return sum(client.gather([client.submit(nested, depth - 1, pure=False), client.submit(int, "5")]))


def test_a_program_that_forgets_to_close_ends() -> None:
    program = (
        "from taskloom.distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=0)\n    cluster.adapt(interval=3600)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
