"""The workers of a cluster, as their parent has them: started, watched, replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from taskloom import config
from taskloom.engines.cluster.coordinator.allowance import Allowance
from taskloom.engines.cluster.worker.in_process import ClusterThreads
from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.cluster.worker.process import ClusterProcess
from taskloom.engines.worker.anonymous import allow_many_files
from taskloom.engines.worker.environment import worker_environment
from taskloom.engines.worker.failure import pack_error, unpack_error
from taskloom.engines.worker.keeper import keeper
from taskloom.engines.worker.launch import LAUNCHERS
from taskloom.engines.worker.memory import kills
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.said import common_manner, manner
from taskloom.errors import ConfigError

DIES_AT_ONCE = 5  # workers in a row, for each there should be, that end before they have done anything


class End(NamedTuple):
    """How a worker ended."""

    fate: str
    last_lines: Sequence[str]
    out_of_memory: bool


class Crew:
    """Workers by number.

    Attributes
    ----------
    size : how many there should be, beside those that are leaving.
    leaving : the numbers of those that are to end when their data are elsewhere.
    reported : how many tasks each has reported.
    started : how many there have been so far.
    held : whether none is started in the place of one that has ended, as it would fail in the same way.
    """

    def __init__(
        self,
        threads: int,
        processes: bool,
        memory_limit: float,
        resources: dict[str, float],
        environment: dict[str, str],
    ) -> None:
        self.threads = threads
        self.processes = processes
        self.memory_limit = memory_limit
        self.resources = resources
        self.environment = environment
        self.address: str | None = None
        self.secret: bytes | None = None
        self.size = 0
        self.held = False
        self.workers: dict[int, ClusterProcess | ClusterThreads] = {}
        self.leaving: set[int] = set()
        self.reported: dict[int, int] = {}
        self._idle_deaths = 0
        self._gave_up = False
        self.started = 0
        self._new: list[int] = []
        self._files: dict[int, tuple[int, str]] = {}
        self._manners: dict[int, bytes] = {}  # by client, what it wants to hear
        self._oom_kills = kills()
        if processes:
            allow_many_files()
        self.allowance = Allowance(memory_limit)
        self._launcher = LAUNCHERS[config.get("multiprocessing.context")]() if processes else None
        self.pack: Any = Parcel.of if processes else Loose.of
        self.pack_error: Any = pack_error if processes else _same
        self.unpack_error: Any = unpack_error if processes else _same

    def grow(self, n: int) -> None:
        """Have at least so many from now on.

        Raises
        ------
        ConfigError
            A worker cannot be started.
        """
        self.size = n
        try:
            keeper.do(self._start)
        except Exception as error:
            raise ConfigError(f"A worker could not be started: {error}") from error

    @property
    def is_short(self) -> bool:
        """Whether workers are missing that are to be started."""
        return len(self.workers) - len(self.leaving) < self.size and not (self._gave_up or self.held)

    def replace(self) -> None:
        """Start those that are missing, unless they end again and again. Raises whatever keeps one from starting."""
        if self.is_short:
            keeper.do(self._start)

    def _start(self) -> None:
        while len(self.workers) - len(self.leaving) < self.size:
            number = self.started
            self.started += 1
            name = self._free_name()
            worker = ClusterThreads(name) if self._launcher is None else ClusterProcess(name, self._launcher)
            self.workers[number] = worker
            self._new.append(number)
            for file, what in worker.watched().items():
                self._files[file] = (number, what)
            if self.processes:
                environment = worker_environment(self.size * self.threads, self.environment)
                worker.send("setup", [*sys.path], os.getcwd(), environment)
                worker.send("adopt", self._manner())
            worker.send("join", number, name, self.threads, self.address, self.secret)
            self.allowance.tell(worker, number)

    # -- how they warn and log ------------------------------------------------------------------------------------

    def wants(self, client: int, manner: bytes) -> None:
        """A client has said what it wants to hear of the tasks that it submits from now on."""
        self._manners[client] = manner
        self._adopt()

    def client_left(self, client: int) -> None:
        """What it wanted to hear does not count any more."""
        if self._manners.pop(client, None) is not None and self._manners:
            self._adopt()

    def _adopt(self) -> None:
        now = self._manner()
        for worker in self.workers.values():
            worker.send("adopt", now)

    def _manner(self) -> bytes:
        return common_manner(self._manners.values()) if self._manners else manner()

    def _free_name(self) -> str:
        """The first name that no worker has: one that takes the place of another has its name, too, so that tasks that
        are to run there still can."""
        taken = {worker.name for worker in self.workers.values()}
        return next(name for i in itertools.count() if (name := f"worker-{i}") not in taken)

    def newcomers(self) -> list[int]:
        """The workers that were started since the last time."""
        new, self._new = self._new, []
        return new

    def watched(self, file: int) -> tuple[int, str] | None:
        """Whose file it is, and what it tells: "work", "stdout", "stderr" or "end"."""
        return self._files.get(file)

    def files(self, number: int) -> list[int]:
        """What is to be watched of a worker."""
        return [file for file, (owner, _) in self._files.items() if owner == number]

    def urgency(self, file: int) -> int:
        """The place of a file among those that can be read at the same time."""
        _, what = self._files.get(file, (0, "stdout"))
        return ("stdout", "stderr", "work", "end").index(what)

    def any_waiting(self) -> bool:
        """Whether messages wait for room in a worker's socket."""
        return any(worker.waiting for worker in self.workers.values())

    def running(self) -> list[tuple[int, int, float]]:
        """What runs right now: worker, id of the task, and since when."""
        found = []
        for number, worker in list(self.workers.items()):
            with contextlib.suppress(ValueError):  # its page was given up just now
                found += [(number, id, started) for _, id, started in worker.running()]
        return found

    def bury(self, number: int, poll: select.poll) -> End:
        """End a worker, if it has not, and give up everything that belongs to it."""
        worker = self.workers[number]
        out_of_memory = self._ran_out_of_memory(worker)
        fate = worker.fate() or "was ended"
        last_lines = list(worker.last_lines)
        for file, (owner, _) in list(self._files.items()):
            if owner == number:
                del self._files[file]
                with contextlib.suppress(KeyError, OSError):
                    poll.unregister(file)
        if number in self._new:
            self._new.remove(number)
        del self.workers[number]
        self.leaving.discard(number)
        self.reported.pop(number, None)
        keeper.do(worker.close)
        self.allowance.forget(number)
        return End(fate, last_lines, out_of_memory)

    def _ran_out_of_memory(self, worker: ClusterProcess | ClusterThreads) -> bool:
        before, self._oom_kills = self._oom_kills, kills()
        return self._oom_kills > before and worker.fate() == f"was killed by {signal.SIGKILL.name}"

    def has_died_idle(self) -> bool:
        """A worker has ended outside of any task, or not even begun: returns whether no more are started for that."""
        self._idle_deaths += 1
        self._gave_up = self._idle_deaths > DIES_AT_ONCE * max(1, self.size)
        return self._gave_up

    def has_done_something(self) -> None:
        """A worker has run tasks."""
        self._idle_deaths = 0

    def try_again(self) -> None:
        """Let workers be started although they ended again and again: each of them once."""
        if not self.workers:
            self.held = False
        if self._gave_up:
            self._gave_up = False
            self._idle_deaths -= max(1, self.size)

    def close(self) -> None:
        """End all."""
        keeper.catch_up()
        keeper.do(self._close)

    def let_go(self) -> None:
        """Leave them to another process. Their files are closed already."""
        self.workers.clear()
        self._files.clear()
        self._launcher = None
        self.allowance.let_go()

    def _close(self) -> None:
        for worker in list(self.workers.values()):
            worker.kill()
        for worker in list(self.workers.values()):
            worker.close()
        self.workers.clear()
        self._files.clear()
        if self._launcher is not None:
            self._launcher.close()
        self.allowance.close()


def _same(error: BaseException) -> BaseException:
    return error
