"""Runs of one task on worker processes, which go a shorter way: nothing of the others' is lost on it."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import taskloom
from taskloom.engines.worker.pool import pool

from .cases import PATIENCE, until


@pytest.fixture(autouse=True)
def no_workers_left() -> Iterator[None]:
    yield
    pool.close()


def _get(task: Any, **options: Any) -> Any:
    return taskloom.multiprocessing.get({"it": task}, "it", num_workers=2, **options)


def _until(path: Path) -> str:
    until(path.exists)
    return path.read_text()


def _say(path: str, text: str) -> None:
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def test_the_record_of_one_task_is_that_of_any_other() -> None:
    def task(n: int) -> bytes:
        from time import thread_time

        end = thread_time() + 0.02
        while thread_time() < end:
            pass
        return bytes(n)

    assert _get((task, 10)) == bytes(10)
    run = taskloom.last_run()
    assert run is not None
    assert (run.status, run.n_done, run.tasks.status, run.tasks.worker[0]) == ("finished", 1, ["finished"], 0)
    assert [worker.pid for worker in run.workers] == [pool.workers[0].pid] != [os.getpid()]
    assert 0 <= run.tasks.start[0] < run.tasks.stop[0] <= run.duration
    assert 0.015 < run.tasks.cpu[0] <= run.tasks.stop[0] - run.tasks.start[0]
    assert run.tasks.nbytes[0] == 10


def test_it_is_seen_while_it_runs_and_can_be_cancelled(tmp_path: Path) -> None:
    def task(path: str) -> None:
        import time

        print("begun", flush=True)
        _say(path, str(os.getpid()))
        time.sleep(PATIENCE)

    raised: list[BaseException] = []

    def compute() -> None:
        try:
            _get((task, str(tmp_path / "pid")))
        except BaseException as error:
            raised.append(error)

    assert _get((abs, -1)) == 1
    workers = [worker.pid for worker in pool.workers]
    thread = threading.Thread(target=compute)
    thread.start()
    pid = int(_until(tmp_path / "pid"))
    run = taskloom.last_run()
    assert run is not None
    assert [(worker, task) for worker, task, _ in run.running] == [(0, 0)]
    assert run.workers[0].pid == pid
    run.cancel()
    thread.join(PATIENCE)
    assert [type(error) for error in raised] == [KeyboardInterrupt]
    assert run.status == "cancelled"
    assert _get((abs, -2)) == 2
    assert [worker.pid for worker in pool.workers] == workers


def test_what_it_prints_comes_before_its_result(capfd: pytest.CaptureFixture[str]) -> None:
    def task(i: int) -> None:
        import subprocess
        import sys

        print("first", i, end="")
        print("aside", i, file=sys.stderr)
        sys.stdout.flush()
        subprocess.run(["echo", " second", str(i)], check=True)

    for i in range(20):
        _get((task, i))
        print("back", i, flush=True)
        out, err = capfd.readouterr()
        assert (out, err) == (f"first {i} second {i}\nback {i}\n", f"aside {i}\n")


def test_a_worker_that_dies_is_replaced_and_the_record_tells(tmp_path: Path) -> None:
    def task(path: str) -> int:
        if not os.path.exists(path):
            _say(path, str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    last = _get((task, str(tmp_path / "died")))
    run = taskloom.last_run()
    assert run is not None
    first = int((tmp_path / "died").read_text())
    assert [worker.pid for worker in run.workers] == [first, last]
    assert run.tasks.worker[0] == 1
    assert run.workers[0].left is not None


def test_the_worker_keeps_nothing_of_it() -> None:
    assert _get((abs, -1)) == 1
    process = psutil.Process(pool.workers[0].pid)
    before = process.memory_info().rss
    assert _get((len, [bytes(200_000_000), 0])) == 2
    until(lambda: process.memory_info().rss <= before + 100_000_000)


def test_a_failure_keeps_the_inputs() -> None:
    def task(items: list[int], divisor: int) -> float:
        return items[0] / divisor

    with pytest.raises(ZeroDivisionError):
        _get((task, [1], 0))
    failure = taskloom.last_run().failure  # type: ignore[union-attr]
    assert failure is not None
    assert failure.inputs == ([1], 0)
    with pytest.raises(ZeroDivisionError):
        failure.replay()


def test_what_it_cannot_send_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(taskloom.SerializationError, match=r"An argument of task 'it', of type list, cannot be pickled"):
        _get((id, [lock]))
    with pytest.raises(taskloom.SerializationError, match=r"The function .*<lambda>.* of task 'it' cannot be pickled"):
        _get((lambda: lock,))
    with pytest.raises(taskloom.SerializationError, match=r"The result of task 'it' cannot be pickled"):
        _get((threading.Lock,))
    assert _get((abs, -1)) == 1
