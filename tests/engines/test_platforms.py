"""Worker processes where the system is not Linux: the same tests, over what macOS has; and what Windows is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .cases import REPOSITORY, check_child

FOLDER = Path(__file__).parent / "without_linux"

#: What runs again: files of tests, and which of those in them.
AGAIN = {
    "contract": ("test_contract.py test_record.py", "processes"),
    "start-methods": ("test_contract_of_processes.py", "(fork or spawn) and (exception or draw or output or large)"),
    "data": (
        "test_processes.py test_processes_sharing.py",
        "print or reduction or error or initializer_reaches_every or take_turns",
    ),
    "faults": (
        "test_faults.py",
        "runs_again or always_kills_its_worker[kill or large-results or nothing-left or stopped or interrupt or deaf "
        "or hang-pickling or nested or many-runs",
    ),
}


@pytest.fixture
def without_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started lack what only Linux has: parents, and so their workers."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )


@pytest.mark.parametrize("name", AGAIN)
def test_what_holds_on_linux_holds_without_its_means(without_linux: None, name: str) -> None:
    files, which = AGAIN[name]
    tests = [str(Path(__file__).parent / file) for file in files.split()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
        "-k",
        f"({which}) and not executor",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]


def test_the_means_are_other_ones(without_linux: None) -> None:
    """Else the tests above would say nothing."""
    program = """
import os, taskloom
from taskloom.engines.worker.pool import pool
def means():
    return [name for name in ("memfd_create", "pidfd_open", "eventfd") if hasattr(os, name)]
assert taskloom.multiprocessing.get({"a": (means,), "b": (abs, -1)}, ["a", "b"], num_workers=1) == [[], 1]
print(type(pool.workers[0].work).__name__, means())
"""
    assert check_child(program) == "StreamLink []\n"


@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
def test_workers_see_that_their_parent_is_gone(without_linux: None, context: str) -> None:
    program = f"""
import os, psutil, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import os, time, taskloom
def task(i):
    os.write(1, b"x\\\\n")  # to the caller's output, which is the test's
    time.sleep(100)
taskloom.multiprocessing.get(dict.fromkeys("ab", (task, 1)), ["a", "b"], num_workers=2, context="{context}")
'''], stdout=subprocess.PIPE, text=True, env={{**os.environ, "PYTHONUNBUFFERED": "1"}})
assert child.stdout.readline() == child.stdout.readline() == "x\\n"
workers = psutil.Process(child.pid).children(recursive=True)
assert len(workers) >= 2
child.kill()
child.wait()
child.stdout.close()
def lives(worker):
    try:
        return worker.status() != "zombie"
    except psutil.NoSuchProcess:
        return False
deadline = time.monotonic() + 20
while any(map(lives, workers)):
    assert time.monotonic() < deadline, workers
    time.sleep(0.01)
print("fine")
"""
    assert check_child(program) == "fine\n"


LEFT_BEHIND = {
    "a fork of the task lives on": "os.fork() or time.sleep(100)",
    "its files are closed": "os.closerange(3, 200)",
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_the_end_of_a_worker_is_seen_though(without_linux: None, what: str) -> None:
    program = f"""
import os, signal, tempfile, time, taskloom
place = tempfile.mkdtemp()
def task(i):
    if i == 3:
        try:
            os.mkdir(place + "/tried")
        except FileExistsError:
            return i
        {LEFT_BEHIND[what]}
        os.kill(os.getpid(), signal.SIGKILL)
    return i
dsk = {{("x", i): (task, i) for i in range(8)}}
assert taskloom.multiprocessing.get(dsk, list(dsk), num_workers=2) == list(range(8))
print("fine")
"""
    assert check_child(program) == "fine\n"


def test_what_a_fork_of_a_task_says_is_shown_on_stderr() -> None:
    program = """
import contextlib, io, logging, os, taskloom, warnings
warnings.simplefilter("default")
def task():
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    warnings.warn("mind the gap")
    logging.getLogger("station").warning("late again")
    os._exit(7)
with contextlib.redirect_stderr(io.StringIO()) as shown:
    assert taskloom.multiprocessing.get({"a": (task,), "b": (abs, "a")}, "b", num_workers=1) == 7
assert "mind the gap" in shown.getvalue() and "late again" in shown.getvalue(), shown.getvalue()
print("fine")
"""
    assert check_child(program) == "fine\n"


def test_on_windows_threads_and_pools_of_the_user_serve() -> None:
    program = """
import os, psutil, select, signal, socket, sys
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(1)
list(pool.map(abs, [1]))
for module, names in (
    (os, "fork register_at_fork memfd_create pidfd_open eventfd set_blocking sysconf setsid"),
    (socket, "CMSG_SPACE SCM_RIGHTS SOCK_SEQPACKET MSG_CMSG_CLOEXEC"),
    (signal, "SIGKILL SIGCHLD pthread_kill"),
    (select, "poll"),
):
    for name in names.split():
        delattr(module, name)
sys.modules["fcntl"] = sys.modules["termios"] = sys.modules["resource"] = None
import taskloom
dsk = {"a": (abs, -1), "b": (abs, "a")}
assert taskloom.get(dsk, "b") == taskloom.threaded.get(dsk, "b") == 1
assert taskloom.multiprocessing.get(dsk, "b", pool=pool) == 1
pool.shutdown()
try:
    taskloom.multiprocessing.get(dsk, "b")
except taskloom.ConfigError as error:
    print(error)
"""
    said = check_child(program)
    assert "Windows" in said
    assert "scheduler='threads'" in said
    assert "pool=" in said
