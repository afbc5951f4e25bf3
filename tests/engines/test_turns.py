"""Runs that want the same worker processes at the same time."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest

import taskloom

from .cases import Get, check_child, in_thread, processes


@pytest.fixture
def get() -> Iterator[Get]:
    with processes(2) as get:
        yield get


def test_a_callback_that_runs_another_graph(get: Get) -> None:
    assert get({"x": (abs, -1)}, "x") == 1
    processes_before = psutil.Process().children()
    answers = []

    def run_another(key: Any, *_: Any) -> None:
        answers.append((key, get({"y": (abs, -2)}, "y", callbacks=[])))

    callback = taskloom.Callback(pretask=run_another)
    for _ in range(2):
        assert get({"x": (abs, -1), "z": (abs, "x")}, "z", callbacks=callback) == 1
    assert answers == [("x", 2), ("z", 2)] * 2
    assert psutil.Process().children() == processes_before, "the others are gone"


def test_a_callback_that_waits_for_a_run_in_another_thread(get: Get) -> None:
    answers = []

    def wait_for_another(*_: Any) -> None:
        answers.append(in_thread(partial(get, callbacks=[]), {"y": (abs, -2)}, "y")())

    assert get({"x": (abs, -1)}, "x", callbacks=taskloom.Callback(pretask=wait_for_another)) == 1
    assert answers == [2]


def test_a_callback_within_a_callback(get: Get) -> None:
    answers = []

    def run_innermost(*_: Any) -> None:
        answers.append(get({"innermost": (abs, -3)}, "innermost", callbacks=[]))

    def run_inner(*_: Any) -> None:
        answers.append(get({"inner": (abs, -2)}, "inner", callbacks=taskloom.Callback(posttask=run_innermost)))

    assert get({"x": (abs, -1)}, "x", callbacks=taskloom.Callback(start_state=run_inner)) == 1
    assert answers == [3, 2]


def test_interrupts_while_fifty_runs_want_the_workers() -> None:
    program = """
import os, random, signal, threading, time, psutil, taskloom
signal.signal(signal.SIGINT, signal.default_int_handler)
get = taskloom.multiprocessing.get
dsk = {("x", i): (abs, -i) for i in range(20)}
dsk["sum"] = (sum, list(dsk))
def run():
    return get(dsk, "sum", num_workers=2)
assert run() == 190
this = psutil.Process()
before = this.num_fds()
rng = random.Random(0)
answers = []
def run_some():
    for _ in range(4):
        answers.append(run())
threads = [threading.Thread(target=run_some, daemon=True) for _ in range(50)]
for thread in threads:
    thread.start()
over, running, turn = threading.Event(), threading.Event(), threading.Lock()
def strike():
    while not over.wait(rng.random() * 0.05):
        with turn:
            if running.is_set():
                running.clear()
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
striker = threading.Thread(target=strike, daemon=True)
striker.start()
interrupted = 0
while any(thread.is_alive() for thread in threads):
    try:
        running.set()
        try:
            assert run() == 190
        finally:
            with turn:
                running.clear()
    except KeyboardInterrupt:
        interrupted += 1
over.set()
for thread in [*threads, striker]:
    thread.join()
assert answers == [190] * 200, len(answers)
assert interrupted
assert run() == 190
assert len(this.children()) == 2 and this.num_fds() <= before + 4, (this.children(), before, this.num_fds())
print("fine")
"""
    assert check_child(program, limit=180) == "fine\n"


@pytest.mark.parametrize("kill", ["", "kill"])
@pytest.mark.parametrize("observed", ["plain", "observed"])
def test_ctrl_c_twice(observed: str, kill: str) -> None:
    """strike_workers.py says how."""
    program = "import sys; from tests.engines.strike_workers import main; main(*sys.argv[1:3], int(sys.argv[3]))"
    assert check_child(program, observed, kill, "12" if kill else "100", limit=180) == "fine\n"


def test_a_fork_server_that_is_killed_takes_all_its_workers_along() -> None:
    program = """
import psutil, taskloom
with taskloom.config.set({"multiprocessing.context": "forkserver"}):
    dsk = {("x", i): (abs, -i) for i in range(40)}
    for _ in range(3):
        for callbacks in ([], [taskloom.Callback(pretask=lambda *_: None)]):
            assert taskloom.multiprocessing.get(dsk, list(dsk), num_workers=2, callbacks=callbacks) == [*range(40)]
            for server in psutil.Process().children():  # none where workers were quick, that died with the one before
                server.kill()
print("fine")
"""
    assert check_child(program) == "fine\n"
