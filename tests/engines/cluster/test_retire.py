"""Workers that leave: their data go elsewhere first, and nothing is computed twice."""

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskloom.distributed import Client
from tests.engines.cases import PATIENCE

from .simulation import BIG, SMALL, STAYS, Cluster, finish, task
from .simulation import Client as SimulatedClient

LARGE = 1_000_000


# -- the scheduler alone ----------------------------------------------------------------------------------------------


def test_the_last_worker_leaves_its_data_to_the_coordinator(cluster: Cluster, client: SimulatedClient) -> None:
    number = cluster.add_worker()
    (a,) = cluster.submit(client, [("a", BIG, [])])
    finish(cluster)
    cluster.scheduler.retire(number)
    finish(cluster)
    assert not cluster.workers
    assert client.status[a] == "finished"
    cluster.gather(client, [a])
    finish(cluster)
    assert client.brought[a] == ("large",)


def test_data_that_outlive_all_workers_are_used_by_the_next(cluster: Cluster, client: SimulatedClient) -> None:
    number = cluster.add_worker()
    (a,) = cluster.submit(client, [("a", BIG, [])])
    finish(cluster)
    cluster.scheduler.retire(number)
    finish(cluster)
    (b,) = cluster.submit(client, [("b", SMALL, [a])])
    cluster.add_worker()
    finish(cluster)
    assert client.brought[b] == ("small", ("large",))
    assert cluster.ran[a] == 1
    cluster.release(client, [a, b])
    finish(cluster)
    assert all(parcel.closed for parcel in cluster.parcels if parcel.content == ("large",)), "it is kept for nobody"


def test_more_than_fits_without_workers_is_computed_again(cluster: Cluster, client: SimulatedClient) -> None:
    number = cluster.add_worker(memory_limit=250_000)  # of which each takes 100,000
    ids = cluster.submit(client, [(f"x{i}", BIG, []) for i in range(4)])
    finish(cluster)
    cluster.scheduler.retire(number)
    finish(cluster)
    assert not cluster.workers
    kept = [parcel for parcel in cluster.parcels if parcel.content == ("large",) and not parcel.closed]
    assert len(kept) == 2
    cluster.add_worker()
    finish(cluster)
    assert [client.status[id] for id in ids] == ["finished"] * 4
    assert sorted(cluster.ran[id] for id in ids) == [1, 1, 2, 2]


def test_of_two_that_leave_neither_gets_the_data_of_the_other(cluster: Cluster, client: SimulatedClient) -> None:
    numbers = [cluster.add_worker() for _ in range(2)]
    ids = cluster.submit(client, [(f"x{i}", BIG, []) for i in range(4)])
    finish(cluster)
    for number in numbers:
        cluster.scheduler.retire(number)
    finish(cluster)
    assert not cluster.workers
    assert all(task(cluster, id).parcel is not None for id in ids)


def test_data_that_cannot_leave_are_computed_again_and_that_is_said(cluster: Cluster, client: SimulatedClient) -> None:
    number = cluster.add_worker()
    (a,) = cluster.submit(client, [("a", STAYS, [])])
    finish(cluster)
    cluster.add_worker()
    cluster.scheduler.retire(number)
    finish(cluster)
    assert number not in cluster.workers
    assert client.status[a] == "finished"
    assert cluster.ran[a] == 2
    (text,) = client.said
    assert "'a' cannot leave 'worker-0', which is to end" in text


# -- clusters --------------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[Client]:
    with Client(n_workers=2, threads_per_worker=1, set_as_default=False) as client:
        yield client


def wait_for_file(path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)


def large(path: str, number: int) -> bytes:
    with open(path, "a") as file:
        file.write(f"{number} ")
    return bytes(LARGE) + bytes([number])


def begin_and_wait(begun: str, gate: str) -> str:
    Path(begun).touch()
    wait_for_file(gate)
    return "done"


def names(client: Client) -> set[str]:
    return set(client.nthreads())


def until_there_are(client: Client, n: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(names(client)) != n:
        assert time.monotonic() < deadline, f"{len(names(client))} workers instead of {n}"
        time.sleep(0.01)


def test_nothing_is_computed_again(real: Client, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    futures = [real.submit(large, str(ran), i, workers=[f"worker-{i % 2}"]) for i in range(6)]
    assert all(future.exception() is None for future in futures)
    gone = real.retire_workers("worker-0")
    assert set(gone) == {"worker-0"}
    assert gone["worker-0"]["nthreads"] == 1
    assert names(real) == {"worker-1"}
    assert [future.result()[-1] for future in futures] == list(range(6))
    assert all(set(holders) == {"worker-1"} for holders in real.who_has(futures).values())
    assert sorted(ran.read_text().split()) == list("012345")


def test_scattered_data_survive_that_there_is_no_worker(real: Client) -> None:
    data = real.scatter({"x": b"x" * LARGE, "y": "small"})
    assert len(real.retire_workers(n=2)) == 2
    assert names(real) == set()
    assert data["y"].result() == "small"
    assert real.gather(data) == {"x": b"x" * LARGE, "y": "small"}
    length = real.submit(len, data["x"])
    assert not length.done()
    assert real.cluster is not None
    real.cluster.scale(1)
    assert length.result(PATIENCE) == LARGE


def test_what_runs_ends_before_its_worker_does(real: Client, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    future = real.submit(begin_and_wait, str(begun), str(gate), workers=0, retries=0)
    wait_for_file(str(begun))
    waiting = [real.submit(pow, 2, i, pure=False) for i in range(50)]
    retired: list[Any] = []
    thread = threading.Thread(target=lambda: retired.append(real.retire_workers(workers=[0])))
    thread.start()
    assert real.gather(waiting) == [2**i for i in range(50)], "the other worker does what this one gave back"
    assert not future.done()
    assert not retired
    gate.touch()
    thread.join(PATIENCE)
    assert set(retired[0]) == {"worker-0"}
    assert future.result() == "done"
    assert names(real) == {"worker-1"}


def test_idle_workers_are_retired(real: Client, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    future = real.submit(begin_and_wait, str(begun), str(gate))
    wait_for_file(str(begun))
    assert len(real.retire_workers()) == 1
    assert real.retire_workers() == {}
    gate.touch()
    assert future.result() == "done"


def test_a_worker_that_is_leaving_is_not_counted(real: Client, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    future = real.submit(begin_and_wait, str(begun), str(gate), workers=0)
    wait_for_file(str(begun))
    assert real.cluster is not None
    real.cluster.scale(0)
    until_there_are(real, 1)  # it runs the task
    assert not future.done()
    real.cluster.scale(1)
    until_there_are(real, 2)
    real.cluster.scale(2)
    until_there_are(real, 3)
    gate.touch()
    until_there_are(real, 2)
    assert future.result() == "done"


def test_scaling_down_while_tasks_run(real: Client, tmp_path: Path) -> None:
    assert real.cluster is not None
    ran = tmp_path / "ran"
    chain = [real.submit(large, str(ran), 0, pure=False) for _ in range(20)]
    sizes = real.map(len, chain)
    real.cluster.scale(1)
    assert real.gather(sizes) == [LARGE + 1] * 20
    until_there_are(real, 1)
    assert len(ran.read_text().split()) == 20


def test_data_that_cannot_be_pickled_are_computed_again(real: Client) -> None:
    first = real.submit(threading.Lock, workers=["worker-0"], allow_other_workers=True)
    assert first.exception() is None
    with warnings.catch_warnings(record=True) as caught:  # on another thread
        warnings.simplefilter("always")
        real.retire_workers(["worker-0"])
        assert "lock" in real.submit(repr, first).result()
        deadline = time.monotonic() + PATIENCE
        while not any("cannot leave 'worker-0', which is to end" in str(each.message) for each in caught):
            assert time.monotonic() < deadline, caught
            time.sleep(0.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": "worker-9"}, "There is no worker 'worker-9'"),
        ({"workers": "worker-0", "n": 1}, "not both"),
        ({"n": -1}, "a whole number, 0 or more"),
    ],
)
def test_what_cannot_be_retired(real: Client, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        real.retire_workers(**arguments)
    assert len(names(real)) == 2
