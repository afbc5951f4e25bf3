"""A real cluster of dask: its scheduler and workers as the processes that its command line starts.

They have dask and not taskloom, as the images and environments of real clusters do, unless ``has_taskloom`` is said.

>>> with DaskProcesses(workers=2) as cluster:
...     with distributed.Client(cluster.address) as client:
...         cluster.kill("worker-0")
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from distributed import Client

PATIENCE = 60.0  # seconds for what takes a second or two on an idle machine
LOOPBACK = "127.0.0.1"

REPOSITORY = Path(__file__).parents[3]
ONLY_DASK = os.pathsep.join([str(Path(__file__).with_name("dask_only")), str(REPOSITORY)])  #: for PYTHONPATH

Found = TypeVar("Found")


class Host(NamedTuple):
    """A machine."""

    address: str = LOOPBACK
    entrance: tuple[str, ...] = ()  # the command that runs another command there
    clock_ahead: float = 0.0  # seconds by which its clock differs from ours


class DaskProcesses:
    """A scheduler and workers by name (``worker-0`` …), each one process; all end with the ``with`` block."""

    def __init__(
        self,
        workers: int = 2,
        *,
        nthreads: int = 1,
        memory_limit: str = "1GiB",
        has_taskloom: bool = False,
        config: dict[str, str] | None = None,
        preload: str = "",
        host: Host | None = None,
    ):
        """``config``: settings by their environment names, as ``DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS``;
        ``preload``: the text of a module with a ``dask_setup(scheduler)``.
        """
        self.host = host or Host()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""
        self._n_workers = workers
        self._preload = preload
        self._worker_options = ["--nthreads", str(nthreads), "--memory-limit", memory_limit, "--no-nanny"]
        self._environment = os.environ | (config or {})
        self._environment["PYTHONPATH"] = str(REPOSITORY) if has_taskloom else ONLY_DASK

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="dask-processes-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        try:
            self.start_scheduler()
            for number in range(self._n_workers):
                self.start_worker(f"worker-{number}")
            self.wait_for_workers(self._n_workers)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start_scheduler(self, port: int = 0) -> None:
        """Start the scheduler, at a free port or at one that an earlier one had, and wait until it can be reached."""
        contact = self.scheduler_file = self.folder / "scheduler.json"
        contact.unlink(missing_ok=True)
        options = ["--host", self.host.address, "--port", str(port), "--no-dashboard", "--scheduler-file", str(contact)]
        options += ["--idle-timeout", "5 minutes"]
        if self._preload:
            (self.folder / "preload.py").write_text(self._preload)
            options += ["--preload", str(self.folder / "preload.py")]
        process = self._start("scheduler", self.host, "scheduler", *options)
        self.scheduler = process
        wait_for(lambda: _address_in(contact) or process.poll() is not None, self._what_was_said("scheduler"))
        self.address = _address_in(contact)
        assert self.address, f"the scheduler ended:\n{self.log('scheduler')}"

    def start_worker(self, name: str, host: Host | None = None) -> None:
        """Start one more worker, on the scheduler's host or another; `wait_for_workers` waits for it."""
        host = host or self.host
        options = ["--name", name, "--host", host.address, "--no-dashboard", "--death-timeout", "60"]
        options += ["--local-directory", str(self.folder), *self._worker_options]
        self.workers[name] = self._start(name, host, "worker", self.address, *options)

    def wait_for_workers(self, number: int) -> None:
        """Wait until the scheduler has so many workers."""
        logs = self._what_was_said(*self.workers)
        with Client(self.address, set_as_default=False, timeout=PATIENCE) as client:
            wait_for(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == number, logs)

    def kill(self, name: str) -> None:
        """Kill a worker, or the ``"scheduler"``, as a machine that loses its power does."""
        process = self.scheduler if name == "scheduler" else self.workers.pop(name)
        assert process
        kill(process)

    def pause(self, name: str) -> None:
        """Stop a worker without ending it: it is silent, and its connections stay open. `kill` ends it."""
        os.kill(self.workers[name].pid, signal.SIGSTOP)

    def close(self) -> None:
        """End all processes at once: asked politely, workers and scheduler wait for each other for half a minute."""
        processes = [*self.workers.values(), *([self.scheduler] if self.scheduler else [])]
        for process in processes:
            kill(process)
        self._folder.cleanup()

    def log(self, name: str) -> str:
        """What a process has written."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _start(self, name: str, host: Host, *command: str) -> subprocess.Popen[bytes]:
        return start(host, [sys.executable, "-m", "dask", *command], self.folder / f"{name}.log", self._environment)

    def _what_was_said(self, *names: str) -> Callable[[], str]:
        return lambda: "\n".join(f"--- {name}\n{self.log(name)}" for name in names)


def start(host: Host, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command on a host; `kill` ends it."""
    with open(log, "ab") as said:
        return subprocess.Popen(
            [*host.entrance, *command],
            env={**environment, "CLOCK_AHEAD": str(host.clock_ahead)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=REPOSITORY,
            start_new_session=True,  # so that what it starts ends with it
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it started."""
    if process.poll() is None:  # else its number may be another's by now
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(find: Callable[[], Found], otherwise: Callable[[], str], patience: float = PATIENCE) -> Found:
    """Return what ``find`` finds once it is true; after ``patience`` seconds fail with what ``otherwise`` says."""
    deadline = time.monotonic() + patience
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {patience:g} s:\n{otherwise()}")
        time.sleep(0.02)
    return found


def _address_in(contact: Path) -> str:
    """The address in a scheduler's file, or nothing while it is not yet wholly written."""
    try:
        return str(json.loads(contact.read_text())["address"])
    except (OSError, ValueError):
        return ""
