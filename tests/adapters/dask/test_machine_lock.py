"""Locks that all processes of this machine share."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from taskloom.adapters.dask.machine_lock import MachineLock
from tests.engines.cases import PATIENCE, REPOSITORY, check_child, in_thread

HOLDER = """
import pickle, sys
lock = pickle.loads(bytes.fromhex(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


def holder(lock: MachineLock) -> subprocess.Popen[str]:
    """Another process that holds a lock until its input ends, or it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, pickle.dumps(lock).hex()],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_one_at_a_time_has_it() -> None:
    lock = MachineLock()
    assert lock.acquire()
    assert lock.locked()
    assert not MachineLock().locked()
    assert in_thread(lock.acquire, False)() is False
    lock.release()
    assert not lock.locked()
    with lock:
        assert lock.locked()
    with pytest.raises(RuntimeError, match="nobody in this process has it"):
        lock.release()


def test_in_a_process_each_is_one_object() -> None:
    lock = MachineLock("a file")
    assert MachineLock("a file") is lock
    assert pickle.loads(pickle.dumps(lock)) is lock
    assert MachineLock("another") is not lock


def test_another_process_is_waited_for() -> None:
    lock = MachineLock()
    child = holder(lock)
    assert not lock.acquire(blocking=False)
    waiting = in_thread(lock.acquire)
    child.communicate(timeout=PATIENCE)
    assert waiting()
    lock.release()


def test_what_a_killed_process_held_is_free() -> None:
    lock = MachineLock()
    child = holder(lock)
    child.kill()
    child.communicate()
    assert lock.acquire()
    lock.release()
    assert not os.path.exists(lock.path)


def test_a_wait_can_be_interrupted() -> None:
    lock = MachineLock()
    program = """
import pickle, signal, sys
lock = pickle.loads(bytes.fromhex(sys.argv[1]))
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    lock.acquire()
except KeyboardInterrupt:
    print("interrupted")
"""
    with lock:
        assert check_child(program, pickle.dumps(lock).hex()) == "interrupted\n"
    assert not lock.locked()


def test_files_are_there_only_as_long_as_somebody_has_it(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from taskloom.adapters.dask.machine_lock import MachineLock
lock = MachineLock()
lock.acquire()
print(lock.path, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
lock.release()
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def path_in_child(how: str) -> Path:
        command = [sys.executable, "-c", program, how]
        child = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert child.returncode == (-signal.SIGKILL if how == "killed" else 0), child.stderr
        return Path(child.stdout.strip())

    left = path_in_child("killed")
    assert left.exists()
    assert left.parent.stat().st_mode & 0o777 == 0o700
    assert left.stat().st_mode & 0o777 == 0o600
    assert not path_in_child("released").exists()
    assert not left.exists()  # whoever came next has removed it


def test_none_is_had_twice_while_their_files_come_and_go() -> None:
    lock, counts = MachineLock(), [0]

    def count() -> None:
        for _ in range(300):
            with lock:
                found = counts[0]
                counts[0] = -1
                assert found >= 0
                counts[0] = found + 1

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert counts == [1200]
    assert not os.path.exists(lock.path)
