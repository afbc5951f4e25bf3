# ruff: noqa: F811 - fixtures have the names of others
"""The size of clusters, and annotations: one suite for taskloom's clusters and those of dask.distributed."""

import ast
import operator
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

import taskloom

from .sides import (  # noqa: F401  # fixtures
    LIMIT,
    QUIET,
    Side,
    cluster,
    gate,
    inc,
    limit,
    note,
    side,
    until,
    wait_for,
    workers,
)

pytestmark = QUIET

DIFFERENCES = {
    "test_a_priority_that_is_no_number": "a ValueError, as of other values that cannot be used; dask's is a TypeError",
    "test_an_annotation_that_nobody_knows": "refused, with the nearest name; dask keeps it",
    "test_results_survive_scaling_down": "no task runs twice; dask may compute results again that left with a worker",
    "test_retiring_a_worker_that_is_not_there": "an error that says which there are; dask ignores it",
    "test_scaling_ends_adapting": "the cluster is as large as was said; dask goes on adapting",
}


@pytest.fixture(scope="module")
def shared(side: Side) -> Iterator[Any]:
    with (
        side.LocalCluster(n_workers=2, threads_per_worker=1, resources={"GPU": 1}, **side.quiet) as cluster,
        side.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def client(shared: Any) -> Any:
    return shared


@pytest.fixture
def annotate(side: Side) -> Any:
    return taskloom.annotate if side.is_ours else dask.annotate


@pytest.fixture
def elastic(side: Side) -> Iterator[Any]:
    """A cluster without workers."""
    with side.LocalCluster(n_workers=0, threads_per_worker=1, processes=False, **side.quiet) as cluster:
        yield cluster


@pytest.fixture
def user(side: Side, elastic: Any) -> Iterator[Any]:
    """Its client."""
    with side.Client(elastic, set_as_default=False) as client:
        yield client


def count(client: Any) -> int:
    return len(client.scheduler_info()["workers"])


def where(*_: Any) -> str:
    """The worker that runs this task, as its cluster calls it."""
    from taskloom.engines.cluster.worker.place import current_task

    here = current_task()
    if here is not None:
        return str(here[0].name)
    from distributed import get_worker

    return str(get_worker().address)


def fail_first(path: str) -> str:
    """A task that raises the first time."""
    if not Path(path).exists():
        Path(path).touch()
        raise OSError("the first time")
    return "done"


def linger(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


# -- scale -------------------------------------------------------------------------------------------------------------


def test_scaling_up(elastic: Any, user: Any) -> None:
    elastic.scale(2)
    user.wait_for_workers(2)
    assert count(user) == 2


def test_scaling_down(elastic: Any, user: Any) -> None:
    elastic.scale(3)
    user.wait_for_workers(3)
    elastic.scale(1)
    until(lambda: count(user) == 1)
    assert user.submit(inc, 1).result() == 2


def test_without_workers_tasks_wait(elastic: Any, user: Any) -> None:
    future = user.submit(inc, 1)
    assert future.status == "pending"
    elastic.scale(1)
    assert future.result() == 2


def test_results_survive_scaling_down(side: Side, elastic: Any, user: Any, tmp_path: Path) -> None:
    elastic.scale(2)
    user.wait_for_workers(2)
    path = str(tmp_path / "ran")
    futures = user.map(note, [path] * 10, [str(i) for i in range(10)], pure=False)
    user.gather(futures)
    elastic.scale(1)
    until(lambda: count(user) == 1)
    assert user.gather(futures) == [None] * 10
    assert set(Path(path).read_text()) == set("0123456789")
    if side.is_ours:
        assert len(Path(path).read_text()) == 10


# -- adapt -------------------------------------------------------------------------------------------------------------


def test_adapting_from_none(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=0, maximum=2, interval="50 ms")
    assert user.submit(inc, 1).result() == 2


def test_adapting_to_none(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=0, maximum=2, interval="50 ms", wait_count=1)
    user.submit(inc, 1).result()
    until(lambda: count(user) == 0)
    assert user.submit(inc, 10).result() == 11


def test_adapting_to_more_work(elastic: Any, user: Any, gate: Path) -> None:
    elastic.adapt(minimum=0, maximum=3, interval="50 ms", target_duration="100 ms")
    futures = user.map(wait_for, [str(gate)] * 30, range(30), pure=False)
    until(lambda: count(user) == 3)
    gate.touch()
    assert user.gather(futures) == list(range(30))


def test_a_maximum_is_kept(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=0, maximum=2, interval="20 ms", target_duration="20 ms")
    futures = user.map(linger, [0.02] * 40, pure=False)
    most = 0
    while not all(future.done() for future in futures):
        most = max(most, count(user))
    assert most <= 2


def test_a_minimum_is_kept(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=2, maximum=3, interval="50 ms", wait_count=1)
    user.wait_for_workers(2)
    assert user.submit(inc, 1).result() == 2
    assert count(user) == 2


def test_data_keep_a_worker(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=0, maximum=2, interval="20 ms", wait_count=1)
    future = user.submit(bytes, 1_000_000)
    assert len(future.result()) == 1_000_000
    for _ in range(5):
        user.submit(inc, 1, pure=False).result()
        time.sleep(0.03)
        assert count(user) >= 1
    assert len(future.result()) == 1_000_000


def test_what_adapts_tells_its_bounds(elastic: Any) -> None:
    adaptive = elastic.adapt(minimum=1, maximum=5)
    assert (adaptive.minimum, adaptive.maximum) == (1, 5)


def test_adapting_anew(elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=1, maximum=1, interval="50 ms")
    elastic.adapt(minimum=2, maximum=2, interval="50 ms")
    until(lambda: count(user) == 2)


def test_the_end_of_adapting(elastic: Any, user: Any) -> None:
    adaptive = elastic.adapt(minimum=1, maximum=1, interval="50 ms")
    user.wait_for_workers(1)
    adaptive.stop()
    assert user.submit(inc, 1).result() == 2
    assert count(user) == 1


def test_scaling_ends_adapting(side: Side, elastic: Any, user: Any) -> None:
    elastic.adapt(minimum=0, maximum=1, interval="20 ms", wait_count=1)
    elastic.scale(2)
    if side.is_ours:
        user.wait_for_workers(2)
        assert elastic.adaptive is None
    else:
        until(lambda: count(user) < 2)


# -- retire ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(elastic: Any, user: Any) -> list[str]:
    """The names of three workers."""
    elastic.scale(3)
    user.wait_for_workers(3)
    return list(user.scheduler_info()["workers"])


def test_retiring_a_worker(user: Any, three: list[str]) -> None:
    gone = user.retire_workers(three[:1])
    assert list(gone) == three[:1]
    until(lambda: set(user.scheduler_info()["workers"]) == set(three[1:]))


def test_retiring_some(user: Any, three: list[str]) -> None:
    gone = user.retire_workers(n=2)
    assert len(gone) == 2
    assert set(gone) < set(three)
    until(lambda: count(user) == 1)


def test_a_retired_workers_data_are_moved(user: Any, three: list[str], tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    futures = [
        user.submit(
            operator.itemgetter(1), [user.submit(note, path, str(i), workers=[name], pure=False), bytes(100_000)]
        )
        for i, name in enumerate(three)
    ]
    user.gather(futures)
    user.retire_workers(three[:2])
    until(lambda: count(user) == 1)
    assert user.gather(futures) == [bytes(100_000)] * 3
    assert sorted(Path(path).read_text()) == list("012")


def test_scattered_data_are_moved(user: Any, three: list[str]) -> None:
    data = user.scatter(list(range(10)), workers=three[:1])
    user.retire_workers(three[:1])
    until(lambda: count(user) == 2)
    assert user.gather(data) == list(range(10))


def test_a_retired_worker_ends_its_task(user: Any, three: list[str], gate: Path) -> None:
    future = user.submit(wait_for, str(gate), "done")
    until(lambda: future.key in str(user.processing()))
    others = user.map(inc, range(20), pure=False)
    assert user.gather(others) == list(range(1, 21))
    (name,) = [name for name, keys in user.processing().items() if future.key in keys]
    assert name in three
    gate.touch()
    user.retire_workers([name])
    assert future.result() == "done"
    until(lambda: count(user) == 2)


def test_retiring_a_worker_that_is_not_there(side: Side, user: Any, three: list[str]) -> None:
    if side.is_ours:
        with pytest.raises(ValueError, match="There is no worker 'tcp://nobody:1'"):
            user.retire_workers(["tcp://nobody:1"])
    else:
        assert not user.retire_workers(["tcp://nobody:1"])
    assert count(user) == len(three)


# -- annotations -------------------------------------------------------------------------------------------------------


def test_workers_of_a_block(client: Any, workers: list[str], annotate: Any) -> None:
    for name in workers:
        with annotate(workers=[name]):
            assert client.submit(where, pure=False).result() == name


def test_a_worker_of_a_block_without_a_list(client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[1]):
        assert client.submit(where, pure=False).result() == workers[1]


def test_workers_of_a_map_in_a_block(client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[:1]):
        futures = client.map(where, range(6), pure=False)
    assert set(client.gather(futures)) == {workers[0]}


def test_inner_blocks_come_first(client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[:1]):
        with annotate(workers=workers[1:]):
            inner = client.submit(where, pure=False)
        outer = client.submit(where, pure=False)
    assert (inner.result(), outer.result()) == (workers[1], workers[0])


def test_blocks_add_up(client: Any, workers: list[str], annotate: Any, tmp_path: Path) -> None:
    with annotate(retries=1), annotate(workers=workers[:1]):
        assert client.submit(fail_first, str(tmp_path / "once"), pure=False).result() == "done"


def test_what_a_call_says_comes_first(client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[:1]):
        assert client.submit(where, workers=workers[1:], pure=False).result() == workers[1]


def test_retries_of_a_block(client: Any, annotate: Any, tmp_path: Path) -> None:
    with annotate(retries=1):
        assert client.submit(fail_first, str(tmp_path / "once")).result() == "done"
    with pytest.raises(OSError, match="the first time"):
        client.submit(fail_first, str(tmp_path / "never")).result()


def test_a_block_ends(client: Any, workers: list[str], annotate: Any, gate: Path) -> None:
    with annotate(workers=workers[:1]):
        busy = client.submit(wait_for, str(gate), pure=False)
    assert client.submit(where, pure=False).result() == workers[1]
    gate.touch()
    busy.result()


def test_priorities_of_blocks(
    client: Any,
    workers: list[str],
    annotate: Any,
    gate: Path,
    tmp_path: Path,
) -> None:
    order = str(tmp_path / "order")
    with annotate(workers=workers[:1]):
        busy = client.submit(wait_for, str(gate), pure=False)
        until(lambda: busy.key in str(client.processing()))
    names = ["0", "5", "-5", "10"]
    with annotate(workers=workers[:1], priority=lambda key: int(key.rpartition("_")[2])):
        futures = client.map(note, [order] * 4, [f"{name} " for name in names], key=[f"{order}_{n}" for n in names])
    client.submit(inc, 1, workers=workers[1:], pure=False).result()
    gate.touch()
    client.gather([busy, *futures])
    assert Path(order).read_text().split() == ["10", "5", "0", "-5"]


def test_a_delayed_value_made_in_a_block(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[1:]):
        value = side.delayed(where)()
    assert client.compute(value).result() == workers[1]


def test_delayed_values_made_in_two_blocks(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    values = []
    for name in workers:
        with annotate(workers=[name]):
            values.append(side.delayed(where)(name))
    assert client.gather(client.compute(values, optimize_graph=False)) == workers


def test_a_delayed_value_computed_in_a_block(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    value = side.delayed(where)()
    with annotate(workers=workers[1:]):
        assert client.compute(value).result() == workers[1]


def test_a_delayed_value_persisted_in_a_block(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    value = side.delayed(where)()
    with annotate(workers=workers[1:]):
        persisted = client.persist(value)
    assert client.compute(persisted).result() == workers[1]


def test_a_value_keeps_what_it_was_made_with(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=workers[:1]):
        value = side.delayed(where)()
    with annotate(workers=workers[1:]):
        assert client.compute(value, optimize_graph=False).result() == workers[0]


def test_retries_of_a_delayed_value(side: Side, client: Any, annotate: Any, tmp_path: Path) -> None:
    with annotate(retries=1):
        value = side.delayed(fail_first)(str(tmp_path / "once"))
    assert client.compute(value, optimize_graph=False).result() == "done"


def test_a_function_of_the_key(side: Side, client: Any, workers: list[str], annotate: Any) -> None:
    with annotate(workers=lambda key: [workers[int(key.rpartition("-")[2])]]):
        values = [side.delayed(where)(dask_key_name=f"place-{i}") for i in range(2)]
    assert client.gather(client.compute(values, optimize_graph=False)) == workers


def test_others_may_where_nobody_is_there(client: Any, annotate: Any) -> None:
    with annotate(workers=["127.0.0.1:1"], allow_other_workers=True):
        assert client.submit(inc, 41, pure=False).result() == 42


def test_resources_of_a_block(client: Any, workers: list[str], annotate: Any, gate: Path) -> None:
    with annotate(resources={"GPU": 1}, workers=workers[:1]):
        first = client.submit(wait_for, str(gate), "first", pure=False)
        second = client.submit(inc, 1, pure=False)
    assert client.submit(inc, 2, workers=workers[1:], pure=False).result() == 3
    assert second.status == "pending"
    gate.touch()
    assert (first.result(), second.result()) == ("first", 2)


def test_an_annotation_that_nobody_knows(side: Side, annotate: Any) -> None:
    if side.is_ours:
        with pytest.raises(TypeError, match="Did you mean 'priority'"), annotate(prioritty=1):
            pass
    else:
        with annotate(prioritty=1):
            assert dask.get_annotations() == {"prioritty": 1}


def test_a_priority_that_is_no_number(side: Side, annotate: Any) -> None:
    with pytest.raises(ValueError if side.is_ours else TypeError), annotate(priority="high"):
        pass


def test_every_difference_has_a_reason() -> None:
    """The tests that ask whose side they are on, and those that are listed, are the same."""
    asking = {
        node.name
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and any(isinstance(inner, ast.Attribute) and inner.attr == "is_ours" for inner in ast.walk(node))
    } - {"test_every_difference_has_a_reason"}
    assert asking == set(DIFFERENCES)
    assert LIMIT
