"""Where results are, and what they take, against both libraries.

Where taskloom differs on purpose, the test asks `side.is_ours`, and its name is in `DIFFERENCES` with the reason.
"""

# ruff: noqa: F811 - fixtures are imported

from collections.abc import Iterator
from typing import Any

import dask
import numpy
import pytest

from .sides import QUIET, Side, asking, limit, side, until  # noqa: F401

pytestmark = QUIET

DIFFERENCES = {
    "test_a_balance_moves_what_there_is_too_much_of": "bytes are spread; dask moves none below 30% of the memory limit",
    "test_copies_of_no_worker": "a ValueError says what n takes",
}


@pytest.fixture(scope="module")
def cluster(side: Side) -> Iterator[Any]:
    with (
        dask.config.set({"distributed.scheduler.active-memory-manager.start": False}),  # it takes copies away again
        side.LocalCluster(n_workers=3, threads_per_worker=1, memory_limit="1 GiB", **side.quiet) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def client(side: Side, cluster: Any) -> Iterator[Any]:
    with side.Client(cluster) as client:
        client.wait_for_workers(3)
        yield client


def block(i: int) -> Any:
    return numpy.full(1 << 17, float(i))  # a MiB


def holders(client: Any, future: Any) -> int:
    (where,) = client.who_has([future]).values()
    return len(where)


def test_a_result_is_copied_to_all_workers(client: Any) -> None:
    future = client.submit(block, 1, pure=False)
    client.replicate(future)
    assert holders(client, future) == 3


def test_a_result_is_copied_to_some_workers(client: Any) -> None:
    futures = client.map(block, range(4), pure=False)
    client.replicate(futures, n=2)
    assert [holders(client, future) for future in futures] == [2] * 4


def test_a_small_result_is_copied(client: Any) -> None:
    future = client.submit(abs, -1, pure=False)
    client.replicate([future], n=3)
    assert holders(client, future) == 3


def test_scattered_data_are_copied(client: Any) -> None:
    future = client.scatter(block(3))
    client.replicate(future, n=2)
    assert holders(client, future) == 2
    assert future.result()[0] == 3.0


def test_copies_are_waited_for(client: Any) -> None:
    """Those of a task that is not done, too."""
    future = client.submit(block, client.submit(abs, -1, pure=False), pure=False)
    assert client.replicate(future) is None
    assert future.done()
    assert holders(client, future) == 3


def test_more_copies_than_workers(client: Any) -> None:
    future = client.submit(block, 1, pure=False)
    client.replicate(future, n=10)
    assert holders(client, future) == 3


def test_fewer_copies_than_there_are(client: Any) -> None:
    future = client.submit(block, 1, pure=False)
    client.replicate(future)
    client.replicate(future, n=1)
    assert holders(client, future) == 1
    assert future.result()[0] == 1.0


def test_copies_on_chosen_workers(client: Any) -> None:
    chosen = sorted(client.scheduler_info(n_workers=-1)["workers"])[:2]
    future = client.submit(block, 1, pure=False)
    client.replicate(future, workers=chosen)
    (where,) = client.who_has([future]).values()
    assert set(chosen) <= set(where)


def test_copies_of_no_worker(side: Side, client: Any) -> None:
    future = client.submit(block, 1, pure=False)
    with pytest.raises(ValueError, match="n=0" if side.is_ours else "delete"):
        client.replicate(future, n=0)
    assert future.result()[0] == 1.0


def test_copies_of_a_task_that_failed(client: Any) -> None:
    future = client.submit(lambda: 1 / 0, pure=False)
    client.replicate([client.submit(block, 1, pure=False)])
    assert future.exception() is not None


def test_a_copied_result_is_used_where_it_is(client: Any) -> None:
    future = client.submit(block, 5, pure=False)
    client.replicate(future)
    sums = client.map(lambda i, array: float(array[i]), range(9), array=future, pure=False)
    assert client.gather(sums) == [5.0] * 9


def test_a_result_that_is_released_is_gone_from_all_workers(client: Any) -> None:
    future = client.submit(block, 5, pure=False)
    key = future.key
    client.replicate(future)
    del future
    until(lambda: not any(key in keys for keys in client.has_what().values()))


def test_a_balance_moves_what_there_is_too_much_of(side: Side, client: Any) -> None:
    first = sorted(client.scheduler_info(n_workers=-1)["workers"])[0]
    futures = client.scatter([block(i) for i in range(6)], workers=[first])
    assert client.rebalance(futures) is None
    where = [workers[0] for workers in client.who_has(futures).values()]
    assert len(set(where)) == (3 if side.is_ours else 1)
    assert [array[0] for array in client.gather(futures)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_balance_of_everything(client: Any) -> None:
    futures = client.map(block, range(6), pure=False)
    client.rebalance()
    assert [array[0] for array in client.gather(futures)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_balance_loses_nothing(client: Any) -> None:
    futures = client.map(block, range(6), pure=False)
    client.gather(futures)
    before = [holders(client, future) for future in futures]
    client.rebalance(futures)
    assert [holders(client, future) for future in futures] == before


def test_a_balance_waits_for_what_is_not_done(client: Any) -> None:
    future = client.submit(block, client.submit(abs, -1, pure=False), pure=False)
    client.rebalance([future])
    assert future.done()


def test_what_workers_take_is_told(client: Any) -> None:
    future = client.submit(block, 1, pure=False)
    future.result()
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    assert all(worker["memory_limit"] == 1 << 30 for worker in workers)
    assert all(worker["status"] == "running" for worker in workers)
    for name in "memory", "managed_bytes", "spilled_bytes":
        assert all(name in worker["metrics"] for worker in workers)
    assert all(worker["metrics"]["memory"] > 1 << 20 for worker in workers)
    assert all(worker["metrics"]["spilled_bytes"]["disk"] == 0 for worker in workers)


def test_differences_are_named() -> None:
    assert asking(__file__) == set(DIFFERENCES)
