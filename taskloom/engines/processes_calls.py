"""Single calls on worker processes, for runs in which something sees each task: see observed.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from math import inf
from queue import Empty
from time import monotonic, perf_counter
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.observed import Outcome
from taskloom.engines.processes_errors import argument_stays, describe, died, function_stays, result_stays
from taskloom.engines.worker.failure import unpack_error
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.pool import WorkerPool
from taskloom.engines.worker.process import WorkerProcess
from taskloom.errors import SerializationError
from taskloom.graph import Plan


class Calls:
    """Hands one task at a time to each worker, and is the queue from which `run_observed` takes the outcomes."""

    def __init__(self, pool: WorkerPool, run: Run, plan: Plan, width: int, retries: Callable[[int], int]) -> None:
        self._pool = pool
        self._number = pool.next_run()
        self._run = run
        self._plan = plan
        self._retries = retries
        self._width = width
        self._busy: dict[WorkerProcess, tuple[int, Parcel]] = {}
        self._numbers: dict[WorkerProcess, int] = {}  # among the run's workers
        self._attempts: dict[int, int] = {}
        self._ready: list[tuple[int, Outcome]] = []
        run.on_cancel(pool.wake)

    def submit(self, task: int, function: Callable[..., Any], args: list[Any]) -> None:
        try:
            parcel = Parcel.of((function, args))
        except Exception as error:
            wrong = _cannot_be_sent(self._plan.keys[task], function, args, error)
            wrong.__cause__ = error
            self._ready.append((task, Outcome(None, wrong, 0.0, 0.0, "parent", 0)))
            return
        self._send(task, parcel)

    def _send(self, task: int, parcel: Parcel) -> None:
        for worker in self._pool.ensure(self._width, self._busy):
            if worker not in self._busy:
                if worker not in self._numbers:
                    self._numbers[worker] = self._run.join(worker.name, worker.pid)
                self._run.worker[task] = self._numbers[worker]
                self._run.start[task] = perf_counter()
                self._busy[worker] = (task, parcel)
                worker.send("call", self._number, task, parcels=(parcel,))
                return

    def get(self, *, timeout: float = inf) -> tuple[int, Outcome] | None:
        """The next outcome, None once the run is cancelled.

        Raises
        ------
        Empty
            None has come in time.
        """
        deadline = monotonic() + timeout
        while not self._ready:
            if self._run.stopped:
                return None
            left = deadline - monotonic()
            if left <= 0:
                raise Empty
            for worker, what in self._pool.wait(-1 if left == inf else left):
                if worker is None or worker not in self._pool.workers:  # just removed, with nothing to do
                    continue
                if what == "work":
                    self._hear(worker)
                elif what == "end":
                    while self._hear(worker):
                        pass
                    self._bury(worker)
                else:
                    worker.copy_output()
        return self._ready.pop(0)

    def _hear(self, worker: WorkerProcess) -> bool:
        message = worker.receive()
        if message is None:
            return False
        kind, (number, *fields), parcels = message
        if number < 0 and kind == "failed":  # the initializer
            raise unpack_error(fields[3])
        if number != self._number or kind not in ("result", "failed"):
            for parcel in parcels:
                parcel.close()
            return True
        task, start, stop, rest = fields
        if worker in self._busy:
            self._busy.pop(worker)[1].close()
        value, error = None, None
        if kind == "failed":
            error = unpack_error(rest, f"task {describe(self._plan.keys[task])}")
        else:
            value, measures, why = rest
            if measures is not None:
                self._run.long[task] = measures
            try:
                if why:
                    raise unpack_error(why)
                for parcel in parcels:  # one, unless the value has come as it is
                    value = parcel.value()
            except Exception as caught:
                error = result_stays(self._plan.keys[task], caught)
                error.__cause__ = caught
        for parcel in parcels:
            parcel.close()
        self._ready.append((task, Outcome(value, error, start, stop, worker.name, worker.pid)))
        return True

    def _bury(self, worker: WorkerProcess) -> None:
        fate = worker.fate()
        if fate is None:
            return
        worker.copy_output()
        lines = list(worker.last_lines)
        out_of_memory = self._pool.ran_out_of_memory(worker)
        self._pool.remove(worker)
        if worker not in self._busy:
            return
        self._run.workers[self._numbers[worker]].left = self._run.duration
        task, parcel = self._busy.pop(worker)
        tries = self._attempts[task] = self._attempts.get(task, 0) + 1
        if tries <= self._retries(task) and not out_of_memory:
            self._send(task, parcel)
            return
        parcel.close()
        error = died(self._plan.keys[task], fate, tries, lines, out_of_memory)
        self._ready.append((task, Outcome(None, error, 0.0, 0.0, worker.name, worker.pid)))

    def close(self) -> None:
        if not self._busy:  # a worker keeps nothing of a call
            self._pool.idle = True
            return
        self._pool.settle(self._number, 0.35)
        for worker, (_, parcel) in self._busy.items():
            parcel.close()
            if worker in self._pool.workers:
                with contextlib.suppress(OSError):
                    worker.copy_output()
        self._busy.clear()


def _cannot_be_sent(key: object, function: Any, args: list[Any], error: Exception) -> SerializationError:
    """What to say where a function and its arguments could not be pickled together: which of them it is."""
    for part in (function, *args):
        try:
            Parcel.of(part).close()
        except Exception as caught:
            return function_stays(key, part, caught) if part is function else argument_stays(key, part, caught)
    return argument_stays(key, args, error)
