"""Tasks that wait where there is no worker: whoever submitted them is told, and they run once there is one."""

import threading
import warnings
from collections.abc import Iterator

import pytest

import taskloom
from taskloom import config
from taskloom.distributed import Client, LocalCluster
from tests.engines.cases import PATIENCE

MOMENT = 0.1  # seconds after which it is told
SAID = r"cluster 'empty' has no workers and none is to come. Have some: cluster\.scale\(n\)"


class Told:
    """What is warned of, from any thread, as long as a block lasts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.changed = threading.Condition()

    def note(self, message: Warning | str, *_: object, **__: object) -> None:
        with self.changed:
            self.texts.append(str(message))
            self.changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.texts) >= count, PATIENCE)
            return self.texts


@pytest.fixture
def told() -> Iterator[Told]:
    found = Told()
    with warnings.catch_warnings(), config.set({"distributed.no_workers_timeout": MOMENT}):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = found.note
        yield found


@pytest.fixture(params=[True, False], ids=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=request.param, name="empty") as cluster:
        yield cluster


def test_futures_wait_and_it_is_said_once(cluster: LocalCluster, told: Told) -> None:
    with Client(cluster) as client:
        futures = client.map(abs, [-1, -2, -3], key=["one", "two", "three"])
        (text,) = told.wait_for(1)
        assert "Task 'one' and 2 more wait, as the cluster 'empty' has no workers" in text
        assert text.endswith("Have some: cluster.scale(n), or cluster.adapt(...).")
        later = client.submit(abs, -4, key="four")
        with pytest.raises(TimeoutError):
            later.result(timeout=5 * MOMENT)
        assert len(told.texts) == 1
        cluster.scale(1)
        assert client.gather([*futures, later]) == [1, 2, 3, 4]


def test_it_is_said_again_when_all_workers_are_scaled_away_again(cluster: LocalCluster, told: Told) -> None:
    with Client(cluster) as client:
        first = client.submit(abs, -1, key="first")
        told.wait_for(1)
        cluster.scale(1)
        assert first.result() == 1
        cluster.scale(0)
        second = client.submit(abs, -2, key="second")
        texts = told.wait_for(2)
        assert [text.split("'")[1] for text in texts] == ["first", "second"]
        cluster.scale(1)
        assert second.result() == 2


def test_a_call_that_waits_is_told(cluster: LocalCluster, told: Told) -> None:
    with Client(cluster):
        values: list[object] = []
        call = threading.Thread(target=lambda: values.extend(taskloom.compute(taskloom.delayed(abs)(-5))))
        call.start()
        (text,) = told.wait_for(1)
        assert " waits, as the cluster" in text
        cluster.scale(1)
        call.join(PATIENCE)
        assert values == [5]


def test_each_client_is_told_of_its_own(cluster: LocalCluster, told: Told) -> None:
    with Client(cluster) as one, Client(cluster) as other:
        futures = [one.submit(abs, -1, key="mine"), other.submit(abs, -2, key="yours")]
        texts = told.wait_for(2)
        assert {text.split("'")[1] for text in texts} == {"mine", "yours"}
        cluster.scale(1)
        assert [future.result() for future in futures] == [1, 2]


def test_nothing_is_said_where_workers_are_to_come_or_nothing_waits(cluster: LocalCluster, told: Told) -> None:
    with Client(cluster) as client:
        with config.set({"distributed.no_workers_timeout": 5 * MOMENT}):  # which may pass before it is cancelled
            client.submit(abs, -1).cancel()
            with pytest.raises(TimeoutError):
                client.wait_for_workers(1, timeout=10 * MOMENT)
        with config.set({"distributed.no_workers_timeout": PATIENCE}):
            cluster.adapt(minimum=0, maximum=1)
            assert client.submit(abs, -2).result() == 2
    assert not told.texts
