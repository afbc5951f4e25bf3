"""What tasks do with the worker that they are inside of: leave their place to others, move, keep state."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskloom.distributed import Client, LocalCluster, Reschedule, get_client, get_worker, rejoin, secede, worker_client


@pytest.fixture(scope="module", params=[True, False], ids=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=request.param) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.01)
    return found


def wait_for(path: str) -> str:
    until(lambda: os.path.exists(path))
    return path


def overlapping(i: int) -> int:
    """How many of these run at a time in this worker, at the most that this one sees."""
    worker: Any = get_worker()
    worker.inside = getattr(worker, "inside", set()) | {i}
    most = 0
    for _ in range(5):
        time.sleep(0.002)
        most = max(most, len(worker.inside))
    worker.inside = worker.inside - {i}
    return most


def check_slots(client: Client) -> None:
    """A worker runs one task at a time, once those are over that have left their places."""

    def most() -> int:
        return max(client.gather([client.submit(overlapping, i, workers=["worker-0"], pure=False) for i in range(10)]))

    until(lambda: most() == 1)
    assert most() == 1


# -- secede -----------------------------------------------------------------------------------------------------------


def leave(gate: str) -> str:
    secede()
    secede()
    return wait_for(gate)


def leave_and_fail() -> None:
    secede()
    raise ValueError("so it is")


def leave_twice(gate: str) -> str:
    secede()
    rejoin()
    rejoin()
    secede()
    return wait_for(gate)


@pytest.mark.parametrize("function", [leave, leave_twice])
def test_many_tasks_leave_their_places(client: Client, tmp_path: Path, function: Any) -> None:
    gate = str(tmp_path / "gate")
    futures = [client.submit(function, gate, workers=["worker-0"], pure=False) for _ in range(12)]
    client.submit(Path(gate).touch, workers=["worker-0"], pure=False).result(timeout=10)
    assert client.gather(futures) == [gate] * 12
    check_slots(client)


def test_a_task_that_has_left_its_place_and_fails(client: Client) -> None:
    for _ in range(5):
        future = client.submit(leave_and_fail, workers=["worker-0"], pure=False)
        with pytest.raises(ValueError, match="so it is"):
            future.result(timeout=10)
    check_slots(client)


def test_a_task_that_has_left_its_place_and_is_cancelled(client: Client, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    futures = [client.submit(leave, gate, workers=["worker-0"], pure=False) for _ in range(3)]
    client.submit(abs, -1, workers=["worker-0"], pure=False).result(timeout=10)
    client.cancel(futures)
    check_slots(client)
    assert not os.path.exists(gate)


def test_a_task_that_has_left_its_place_waits_for_others(client: Client) -> None:
    def outer() -> Any:
        secede()
        client = get_client()
        return client.gather([client.submit(abs, -i, workers=["worker-0"], pure=False) for i in range(3)])

    assert client.submit(outer, workers=["worker-0"]).result(timeout=10) == [0, 1, 2]
    check_slots(client)


def test_a_task_with_a_client_may_have_left_its_place_before(client: Client) -> None:
    def outer() -> Any:
        secede()
        with worker_client() as client:
            value = client.submit(abs, -3, workers=["worker-0"], pure=False).result()
        with worker_client(separate_thread=False) as client:
            return value + client.submit(abs, -4, workers=["worker-0"], pure=False).result()

    assert client.submit(outer, workers=["worker-0"]).result(timeout=10) == 7
    check_slots(client)


def test_rejoin_without_having_left_does_nothing(client: Client) -> None:
    def stay() -> str:
        rejoin()
        return get_worker().name

    assert client.submit(stay, workers=["worker-1"]).result(timeout=10) == "worker-1"
    rejoin()
    check_slots(client)


# -- Reschedule -------------------------------------------------------------------------------------------------------


def choosy(path: str) -> Any:
    with open(path, "a") as file:
        file.write(get_worker().name + "\n")
    if len(Path(path).read_text().splitlines()) < 3:
        raise Reschedule
    return get_worker().name


def test_a_task_moves_each_time_that_it_asks_to(client: Client, tmp_path: Path) -> None:
    future = client.submit(choosy, str(tmp_path / "names"))
    last = future.result(timeout=10)
    names = (tmp_path / "names").read_text().split()
    assert names[-1] == last
    assert set(names[::2]).isdisjoint(names[1::2])


def test_a_task_that_may_run_in_one_place_is_run_there_again(client: Client, tmp_path: Path) -> None:
    future = client.submit(choosy, str(tmp_path / "names"), workers=["worker-1"])
    assert future.result(timeout=10) == "worker-1"
    assert (tmp_path / "names").read_text().split() == ["worker-1"] * 3


def test_what_builds_on_a_task_that_moves(client: Client, tmp_path: Path) -> None:
    first = client.submit(choosy, str(tmp_path / "names"))
    assert client.submit(len, first).result(timeout=10) == len("worker-0")
    assert client.get({"a": (choosy, str(tmp_path / "more")), "b": (len, "a")}, "b") == len("worker-0")


def test_asking_to_move_is_no_failure(client: Client, tmp_path: Path) -> None:
    assert client.submit(choosy, str(tmp_path / "names"), retries=0).result(timeout=10)


# -- the worker -------------------------------------------------------------------------------------------------------


def test_its_names(client: Client, cluster: LocalCluster) -> None:
    def names() -> Any:
        worker = get_worker()
        return worker.name, worker.id, worker.address, worker.nthreads, worker.scheduler_address, repr(worker)

    *found, shown = client.submit(names, workers=["worker-1"]).result()
    assert found == ["worker-1", "worker-1", "worker-1", 1, cluster.scheduler_address]
    assert shown == "<Worker 'worker-1', number: 1, threads: 1>"


def test_its_data_are_read_only(client: Client) -> None:
    def look() -> Any:
        data = get_worker().data
        with pytest.raises(TypeError):
            data["own"] = 1  # type: ignore[index]
        with pytest.raises(KeyError):
            data["nobody-knows"]
        return data["own"], "own" in data, len(data) == len(list(data))

    future = client.submit(list, [1, 2], key="own", workers=["worker-0"])
    future.result()
    assert client.submit(look, workers=["worker-0"], pure=False).result(timeout=10) == ([1, 2], True, True)


def test_a_function_that_runs_in_all_workers_knows_its_worker(client: Client) -> None:
    assert client.run(lambda: get_worker().name) == {"worker-0": "worker-0", "worker-1": "worker-1"}
    assert client.run(lambda: get_client().submit(abs, -2, pure=False).result()) == {"worker-0": 2, "worker-1": 2}
    with pytest.raises(ValueError, match="no task"):
        client.run(lambda: get_worker().get_current_task())


def test_its_directory_goes_with_it() -> None:
    for processes in (True, False):
        with Client(n_workers=1, threads_per_worker=1, processes=processes) as client:
            place = client.submit(lambda: get_worker().local_directory).result()
            assert os.stat(place).st_mode & 0o777 == 0o700
        until(lambda place=place: not os.path.exists(place))
