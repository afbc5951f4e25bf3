"""What every test shares: reproducible hypothesis runs, and a check that no thread or process outlives its test."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine and in every run: a red test can be looked at again. How long they take to make
# is no matter.
settings.register_profile(
    "taskloom", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("taskloom")

GRACE = 20.0  # seconds that a thread or process may take to end after its test


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves non-daemon threads or child processes behind.

    What a fixture of wider scope started (a Jupyter server, a browser) was there before and does not count.
    """
    threads_before = set(threading.enumerate())
    processes_before = set(psutil.Process().children())
    yield
    multiprocessing.active_children()  # reaps those of multiprocessing that ended
    threads = _outliving_threads(threads_before)
    _, processes = psutil.wait_procs(set(psutil.Process().children()) - processes_before, timeout=GRACE)
    left = [repr(thread) for thread in threads] + [f"{process!r} {_command(process)}" for process in processes]
    if left:
        pytest.fail("the test left running: " + "; ".join(left), pytrace=False)


def _outliving_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that are new since ``before`` and do not end within `GRACE`."""
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in new:
        thread.join(GRACE)
    return [thread for thread in new if thread.is_alive()]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
