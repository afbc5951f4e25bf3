"""Where a thread is, and what is left when a task is stopped in the midst of a wait."""

from collections.abc import Iterator

import pytest

from taskloom.engines.cluster.worker import place
from taskloom.engines.cluster.worker.place import WorkerInfo, leave_waits, waiting
from taskloom.engines.cluster.worker.stop import NO_TASK


class Worker:
    """One with a thread that is inside of task 5."""

    def __init__(self) -> None:
        self.info = WorkerInfo(0, "worker-0", 1)
        self.running = [5]
        self.seceded: dict[int, place.Wait] = {}
        self.blocked = 0

    def has_thread(self) -> bool:
        return True

    def block(self) -> None:
        self.blocked += 1

    def unblock(self) -> None:
        self.blocked -= 1

    def heed(self, id: int) -> None:
        pass


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker = Worker()
    monkeypatch.setattr(place.place, "worker", worker, raising=False)
    yield worker
    assert not worker.blocked
    assert place.place.wait is None


def test_a_wait_frees_the_place_of_its_task_and_takes_it_back(worker: Worker) -> None:
    with waiting():
        assert worker.blocked == 1
        with waiting():  # at a second point
            assert worker.blocked == 1
    assert worker.running == [5]


def test_a_wait_ends_with_its_task(worker: Worker) -> None:
    left_behind = waiting()
    left_behind.__enter__()  # stopped here: nobody exits
    worker.running[0] = NO_TASK
    leave_waits(worker)  # type: ignore[arg-type]
    assert not worker.blocked
    del left_behind  # the last frame of the task goes
    assert worker.running == [NO_TASK]


def test_the_same_task_again_waits_as_if_it_were_new(worker: Worker) -> None:
    left_behind = waiting()
    left_behind.__enter__()
    leave_waits(worker)  # type: ignore[arg-type]
    with waiting():
        assert worker.blocked == 1
    left_behind.__exit__(None, None, None)
