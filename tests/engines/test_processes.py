"""What only the processes engine has: output, initializers, data between workers, limits."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

import taskloom
from taskloom.engines.worker.page import LIMIT, NEVER
from taskloom.engines.worker.pool import pool

from .cases import PROGRAM_LIMIT, REPOSITORY, Get, Meet, check_child, in_thread, until


def newest() -> taskloom.Run:
    run = taskloom.last_run()
    assert run is not None
    return run


def is_newest(key: str) -> bool:
    """Whether the run of this one task has begun, and none since."""
    run = taskloom.last_run()
    return run is not None and run.graph.keys == [key]


def test_print_reaches_the_caller_in_order(get: Get) -> None:
    out, err = io.StringIO(), io.StringIO()

    def task(i: int) -> None:
        print("line", i)
        print("warning", i, file=sys.stderr)

    dsk: dict[Any, Any] = {("x", 0): (task, 0)}
    dsk |= {("x", i): (lambda _, i=i, task=task: task(i), ("x", i - 1)) for i in range(1, 50)}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        get(dsk, ("x", 49))
    assert out.getvalue() == "".join(f"line {i}\n" for i in range(50))
    assert err.getvalue() == "".join(f"warning {i}\n" for i in range(50))


def test_print_reaches_the_caller_after_both_streams_had_something_at_once(get: Get, tmp_path: Path) -> None:
    def start_thread(folder: Path) -> None:
        def print_between_runs() -> None:
            while not (folder / "go").exists():
                sleep(0.002)
            print("line")
            print("warning", file=sys.stderr)
            (folder / "gone").touch()

        threading.Thread(target=print_between_runs).start()

    def task(text: str) -> None:
        print(text, file=sys.stderr)

    get({"x": (start_thread, tmp_path)}, "x", num_workers=1)
    (tmp_path / "go").touch()
    until((tmp_path / "gone").exists)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for text in ("first", "second", "third"):
            get({"x": (task, text)}, "x", num_workers=1)
    assert (out.getvalue(), err.getvalue()) == ("line\n", "warning\nfirst\nsecond\nthird\n")


def test_an_error_is_itself_where_what_it_came_from_cannot_be_pickled(get: Get) -> None:
    def task(how: str) -> None:
        try:
            raise KeyError(threading.Lock())
        except KeyError as error:
            raise ValueError("the real one") from (error if how == "cause" else None)

    for how in ("cause", "context"):
        with pytest.raises(ValueError, match="the real one") as raised:
            get({"x": (task, how)}, "x")
        came_from = raised.value.__context__
        assert "KeyError" in str(came_from)
        assert (raised.value.__cause__ is not None) == (how == "cause")


def test_an_error_leaves_behind_what_of_it_cannot_be_pickled(get: Get) -> None:
    class RequestError(Exception):
        pass

    def task(kind: type[Exception]) -> None:
        error: Any = kind("no answer")
        error.status = 500
        error.connection = threading.Lock()
        raise error

    for kind in (OSError, RequestError):
        with pytest.raises(kind, match="no answer") as raised:
            get({"x": (task, kind)}, "x")
        error: Any = raised.value
        assert error.status == 500
        assert not hasattr(error, "connection")
        assert any("connection" in note and "lock" in note for note in error.__notes__)


def test_an_error_has_the_frames_of_the_user_and_its_inputs(get: Get) -> None:
    def inner(x: int) -> float:
        return 1 / x

    def users_function(x: int) -> float:
        return inner(x)

    with pytest.raises(ZeroDivisionError) as raised:
        get({"zero": (abs, 0), "bad": (users_function, "zero")}, "bad")
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-2:] == ["users_function", "inner"]
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    assert run.failure.inputs == (0,)
    with pytest.raises(ZeroDivisionError):
        run.failure.replay()


def test_an_error_of_our_own_shows_no_frames_of_the_engine(get: Get) -> None:
    with pytest.raises(taskloom.SerializationError) as raised:
        get({"x": (abs, -1), "bad": (lambda _: threading.Lock(), "x")}, "bad")
    assert {Path(frame.filename).name for frame in traceback.extract_tb(raised.value.__traceback__)} <= {
        Path(__file__).name,
        "multiprocessing.py",
        "base.py",
    }
    assert "replay" not in "".join(raised.value.__notes__), "it would succeed"
    run = taskloom.last_run()
    assert run is not None
    assert run.failure is not None
    with pytest.raises(ValueError, match="not at hand"):
        run.failure.replay()


def test_an_initializer_reaches_every_worker_and_does_not_linger(get: Get) -> None:
    def initialize(value: str) -> None:
        os.environ["TASKLOOM_TEST"] = value

    def read(i: int) -> str:
        sleep(0.01)
        return os.environ.get("TASKLOOM_TEST", "")

    dsk = {("x", i): (read, i) for i in range(20)}
    assert set(get(dsk, list(dsk), initializer=initialize, initargs=("set",))) == {"set"}
    assert set(get(dsk, list(dsk))) == {""}


def test_an_initializer_that_raises(get: Get) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        get({"a": (sleep, 0.2)}, "a", initializer=int, initargs=("x",))
    assert get({"a": (abs, -1)}, "a") == 1


def test_arrays_move_between_workers_and_may_be_written_to(get: Get, tmp_path: Path) -> None:
    def make(value: float, meet: Meet) -> Any:
        meet(value)  # so that each worker makes one
        return np.full(200_000, value)

    def add(a: Any, b: Any) -> Any:
        a += 1  # its own pages
        b += 1
        return float(a.sum() + b.sum())

    for turn in range(3):
        (tmp_path / f"{turn}").mkdir()
        meet = Meet(tmp_path / f"{turn}", 2)
        assert get({"a": (make, 1.0, meet), "b": (make, 2.0, meet), "c": (add, "a", "b")}, "c") == 5 * 200_000
    run = taskloom.last_run()
    assert run is not None
    moved = [move.task for move in run.transfers]
    assert moved, "they were in different workers"
    assert len(moved) == len(set(moved)), "once"


def test_the_record_tells_what_each_worker_holds(get: Get) -> None:
    def make(_: int) -> Any:
        sleep(0.02)
        return np.ones(100_000)

    dsk: dict[Any, Any] = {("x", i): (make, i) for i in range(6)}
    dsk["sum"] = (lambda parts: float(sum(part.sum() for part in parts)), [("x", i) for i in range(6)])
    assert get(dsk, "sum") == 600_000
    run = taskloom.last_run()
    assert run is not None
    assert sum(worker.peak_held for worker in run.workers) == 6 * 800_000
    assert sum(worker.held for worker in run.workers) == 0


def test_a_reduction_larger_than_the_limit_finishes(get: Get) -> None:
    def make(i: int) -> Any:
        return np.full(500_000, float(i))

    dsk: dict[Any, Any] = {("x", i): (make, i) for i in range(20)}
    dsk |= {("sum", i): (np.sum, ("x", i)) for i in range(20)}
    dsk["total"] = (sum, [("sum", i) for i in range(20)])
    assert get(dsk, "total", memory_limit=6_000_000) == 190 * 500_000


def test_long_tasks_are_shared_out_and_workers_stay(get: Get) -> None:
    def task(i: int) -> int:
        sleep(0.02)
        return os.getpid()

    dsk = {("x", i): (task, i) for i in range(10)}
    pids = set(get(dsk, list(dsk)))
    assert len(pids) == 2
    assert set(get(dsk, list(dsk))) == pids


class _LatePage:
    """A worker's page, to which the parent writes limits late: as when it was made to wait just then."""

    def __init__(self, words: Any) -> None:
        self.words = words
        self.limits = 0

    def __getitem__(self, word: int) -> float:
        return float(self.words[word])

    def __setitem__(self, word: int, value: float) -> None:
        if word == LIMIT and value != NEVER:
            self.limits += 1
            sleep(0.03)
        self.words[word] = value

    def release(self) -> None:
        self.words.release()


def test_a_limit_that_comes_too_late_takes_nothing_back(get: Get) -> None:
    def task(i: int) -> int:
        sleep(0.0002)
        return i

    get({"a": (abs, -1)}, "a")
    pages = [_LatePage(worker.page) for worker in pool.workers]
    for worker, page in zip(pool.workers, pages, strict=True):
        worker.page = page  # type: ignore[assignment]
    dsk = {("x", i): (task, i) for i in range(80)}
    for _ in range(20):  # on a busy machine one worker may have done all before the other is asked to help
        assert get(dsk, list(dsk)) == list(range(80))
        run = taskloom.last_run()
        assert run is not None
        assert sorted(run.done) == list(range(80))
        if sum(page.limits for page in pages):
            return
    raise AssertionError("no worker was ever given a limit")


@pytest.mark.parametrize("limit", ["6 MB", "0.006GB", "5.7MiB", "0.01%", 0.0001, 6e6])
def test_a_memory_limit_may_be_written_as_people_do(get: Get, limit: Any) -> None:
    assert get({"a": (abs, -1), "b": (abs, "a")}, "b", memory_limit=limit) == 1
    with taskloom.config.set({"multiprocessing.memory_limit": limit}):
        assert get({"a": (abs, -1)}, "a") == 1


@pytest.mark.parametrize("limit", ["", "much", "-1 GB", "0", "200%", "1 GB of it", True, -1, float("nan"), [1]])
def test_a_memory_limit_that_is_none(get: Get, limit: Any) -> None:
    with pytest.raises(taskloom.ConfigError, match="memory_limit"):
        get({"a": (abs, -1)}, "a", memory_limit=limit)
    with pytest.raises(taskloom.ConfigError, match="memory_limit"):
        taskloom.config.set({"multiprocessing.memory_limit": limit})


def test_runs_take_turns_and_one_that_waits_can_be_cancelled(get: Get, tmp_path: Path) -> None:
    def task() -> int:
        while not go.exists():
            sleep(0.005)
        return 1

    go = tmp_path / "go"
    first = in_thread(get, {"long": (task,)}, "long")
    until(lambda: is_newest("long") and newest().running)
    second = in_thread(get, {"short": (abs, -2)}, "short")
    until(lambda: is_newest("short"))
    waiting = newest()
    assert (waiting.status, waiting.n_done) == ("running", 0)
    waiting.cancel()
    with pytest.raises(KeyboardInterrupt):
        second()
    assert waiting.status == "cancelled"
    third = in_thread(get, {"third": (abs, -3)}, "third")
    until(lambda: is_newest("third"))
    go.touch()
    assert (first(), third()) == (1, 3)


@pytest.mark.parametrize(
    "option", [{"retries": -1}, {"retries": {"a": 1.5}}, {"memory_limit": 0}, {"context": "thread"}, {"context": 3}]
)
def test_values_that_cannot_be(get: Get, option: dict[str, Any]) -> None:
    with pytest.raises(taskloom.ConfigError):
        get({"a": (abs, -1)}, "a", **option)


@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
def test_an_initializer_reaches_workers_that_replace_dead_ones(context: str) -> None:
    program = f"""
import os, tempfile, taskloom
def initialize():
    os.environ["TASKLOOM_TEST"] = "set"
def task(i, mark):
    if i == 3 and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return os.environ.get("TASKLOOM_TEST")
mark = tempfile.mkdtemp() + "/died"
dsk = {{("x", i): (task, i, mark) for i in range(6)}}
get = taskloom.multiprocessing.get
print(set(get(dsk, list(dsk), num_workers=1, initializer=initialize, context="{context}")), os.path.exists(mark))
print(set(get(dsk, list(dsk), num_workers=1, context="{context}")))
"""
    assert check_child(program) == "{'set'} True\n{None}\n"


def test_another_start_method_replaces_the_workers() -> None:
    program = """
import os, psutil, tempfile, time, taskloom
def meet(place):
    open(os.path.join(place, str(os.getpid())), "w").close()
    while len(os.listdir(place)) < 2:
        time.sleep(0.005)
    return os.getpid(), os.getppid()
def pids():
    with tempfile.TemporaryDirectory() as place:
        return taskloom.multiprocessing.get({"a": (meet, place), "b": (meet, place)}, ["a", "b"], num_workers=2)
seen = []
for context in ("fork", "forkserver", "spawn", "fork"):
    with taskloom.config.set({"multiprocessing.context": context}):
        ran = {pid for pid, _ in pids()}
        assert ran == {pid for pid, _ in pids()} and not ran & set(seen), (ran, seen)
        parents = {parent for _, parent in pids()}
        assert (parents == {os.getpid()}) == (context != "forkserver"), parents
    seen += ran
    alive = {child.pid for child in psutil.Process().children(recursive=True)}
    assert alive - parents == ran, (alive, ran)
print("fine")
"""
    assert check_child(program) == "fine\n"


def test_a_fork_may_use_what_other_threads_had_locked() -> None:
    """Threads compute and change the configuration all the time while workers are forked."""
    program = """
import threading, taskloom, warnings
stop = threading.Event()
def busy():
    while not stop.is_set():
        with taskloom.config.set(num_workers=2):
            taskloom.threaded.get({("x", i): (abs, i) for i in range(50)}, ("x", 3))
def task(i):
    with taskloom.config.set(num_workers=1), taskloom.Callback():
        return taskloom.threaded.get({"a": (abs, i), "b": (abs, "a")}, "b")
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    for _ in range(15):  # each with workers of its own
        dsk = {("x", i): (task, i) for i in range(4)}
        assert taskloom.multiprocessing.get(
            dsk, list(dsk), num_workers=2, context="fork", initializer=abs, initargs=(1,)
        ) == list(range(4))
finally:
    stop.set()
print("fine")
"""
    assert check_child(program, limit=3 * PROGRAM_LIMIT) == "fine\n"


SCRIPT = """
import traceback, taskloom
def users_function(x):
    return 1 / x  # the line that fails
class Counter:
    def divide(self, x):
        return [users_function(y) for y in (x,)]
try:
    taskloom.multiprocessing.get({"a": (Counter().divide, 0)}, "a", num_workers=1)
except ZeroDivisionError as error:
    print("".join(traceback.format_exception(error)))
"""


@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
def test_a_script_without_a_guard_runs_once_and_tracebacks_show_its_lines(context: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text('print("script runs")\n' + SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "TASKLOOM_MULTIPROCESSING__CONTEXT": context},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PROGRAM_LIMIT,
        check=True,
    )
    assert done.stdout.count("script runs") == 1
    assert f'File "{script}", line 5, in users_function\n    return 1 / x  # the line that fails' in done.stdout
    assert f'File "{script}", line 8, in divide' in done.stdout


def test_tracebacks_show_the_lines_of_a_cell() -> None:
    program = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell({SCRIPT!r})
"""
    shown = check_child(program)
    assert "return 1 / x  # the line that fails" in shown
    assert "dynamic-code" not in shown


def test_a_warm_worker_keeps_no_files_of_runs_that_are_over() -> None:
    program = """
import numpy, psutil, taskloom, time
def adder(array):
    return lambda x: x + int(array[0])
def fail():
    raise ValueError
def compute(i):
    array = numpy.full(100_000, i)
    assert taskloom.multiprocessing.get({"a": (adder(array), 1)}, "a", num_workers=1) == i + 1
    dsk = {"fails": (fail,), "never": (lambda *_: None, "fails", array)}
    try:
        taskloom.multiprocessing.get(dsk, "never", num_workers=1)
    except ValueError:
        pass
def files():
    return [process.num_fds() for process in (psutil.Process(), *psutil.Process().children())]
compute(0)
before = files()
for i in range(20):
    compute(i)
deadline = time.monotonic() + 20
while any(now > then for now, then in zip(files(), before, strict=True)):  # a worker lets go of them by and by
    assert time.monotonic() < deadline, (before, files())
    time.sleep(0.01)
print("fine")
"""
    assert check_child(program) == "fine\n"


def test_nothing_grows_with_runs_from_many_threads() -> None:
    program = """
import threading, time, psutil, taskloom
me = psutil.Process()
def compute(n):
    dsk = {("x", i): (lambda x: [x + n] * 100, i) for i in range(20)}
    found = taskloom.multiprocessing.get(dsk, list(dsk), num_workers=2)
    right.append(found == [[i + n] * 100 for i in range(20)])
def round_of_50():
    threads = [threading.Thread(target=compute, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
def census():
    workers = me.children()
    memory = sum(process.memory_info().rss for process in (me, *workers))
    return [me.num_fds(), me.num_threads(), *[worker.num_fds() for worker in workers]], memory
right = []
for _ in range(2):
    round_of_50()
before, memory = census()
for _ in range(4):
    round_of_50()
assert right == [True] * 300
deadline = time.monotonic() + 20
while any(now > then for now, then in zip(census()[0], before, strict=True)):  # a thread, or a file, goes by and by
    assert time.monotonic() < deadline, (before, census())
    time.sleep(0.01)
more = census()[1]
assert more - memory < 16 << 20, more - memory
print("fine")
"""
    assert check_child(program, limit=3 * PROGRAM_LIMIT) == "fine\n"
