"""What runs in a worker process: the main thread runs tasks, another one serves what is asked meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from time import perf_counter, thread_time
from types import FrameType
from typing import Any

from taskloom.engines import worker
from taskloom.engines.measure import LONG, bytes_of
from taskloom.engines.worker.ends import die_with
from taskloom.engines.worker.failure import pack_error
from taskloom.engines.worker.imports import importing
from taskloom.engines.worker.link import Link, link_on
from taskloom.engines.worker.page import (
    CANCELLED,
    FETCHING,
    LIMIT,
    NOTHING,
    PACKING,
    POSITION,
    REPORT,
    RUN,
    STARTED,
    Page,
)
from taskloom.engines.worker.parcel import Parcel, decode, encode, is_plain
from taskloom.engines.worker.said import adopt, say_it_here, send_what_is_said
from taskloom.engines.worker.slots import Slots


def start(work: int, data: int, page: int, parent: int) -> None:
    """Be a worker, on these descriptors, until the parent is gone."""
    worker.inside = True
    die_with(parent)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with contextlib.suppress(OSError, ValueError):
        it = Worker(link_on(work), link_on(data), Page(page))
        send_what_is_said(it.say)
        os.register_at_fork(after_in_child=it.let_go)
        it.serve()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # whatever threads the tasks left


class Worker:
    """The tasks of one run at a time."""

    def __init__(self, work: Link, data: Link, page: Page) -> None:
        self.work = work
        self.data = data
        self.page = page.words
        self.slots = Slots(NOTHING, 0, 0)
        self.times: list[float] = []  # start and stop of tasks that have not been reported
        self.reported = 0  # the position up to which tasks have been
        self.reporting = threading.Lock()
        self.tasks: Sequence[int] = ()  # of the batch in hand, which begins at position `first`
        self.first = 0
        self.in_task = False
        self.cpu = 0.0  # of the main thread, as of the last report
        signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """The parent sends the signal, perhaps several times, once it has cancelled the run; whoever else sends it is
        not heard."""
        if self.in_task and self.page[RUN] <= self.page[CANCELLED] and not importing(frame):
            self.in_task = False
            raise KeyboardInterrupt

    def let_go(self) -> None:
        """Be a worker no longer: this process is a copy that a task made. Links that it kept would not show the parent
        that the worker has ended, and what both sent over them would come mixed."""
        self.work.close()
        self.data.close()
        say_it_here()

    def serve(self) -> None:
        threading.Thread(target=self._serve_data, name="taskloom-data", daemon=True).start()
        while (received := self.work.receive()) is not None:
            kind, fields, parcels = decode(*received)
            del received
            try:
                getattr(self, f"_{kind}")(*fields, parcels)
            except KeyboardInterrupt:  # between tasks of a run that is cancelled anyway
                pass
            del fields, parcels
            self.page[STARTED] = NOTHING

    # -- messages -------------------------------------------------------------------------------------------------

    def _setup(self, path: list[str], directory: str, environment: dict[str, str], parcels: list[Parcel]) -> None:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        with contextlib.suppress(OSError):
            os.chdir(directory)

    def _adopt(self, manner: bytes, parcels: list[Parcel]) -> None:
        adopt(manner)

    def _initialize(self, run: int, parcels: list[Parcel]) -> None:
        try:
            function, args = parcels[0].value()
            function(*args)
        except BaseException as error:
            self._send("failed", run, -1, perf_counter(), perf_counter(), pack_error(error))

    def _end(self, run: int, parcels: list[Parcel]) -> None:
        """Forget everything of a run."""
        if self.slots.run <= run:
            self.slots.close()
            self.slots = Slots(NOTHING, 0, 0)
            self.times = []
            sys.last_value = None

    def _call(self, run: int, task: int, parcels: list[Parcel]) -> None:
        """Run one function with these arguments, and bring the result."""
        begun = perf_counter()
        self.page[RUN], self.page[POSITION], self.page[STARTED] = run, task, begun
        if self.page[CANCELLED] >= run:
            return
        try:
            self.in_task = True
            function, args = parcels[0].value()
            begun = perf_counter()
            result = function(*args)
            stop = perf_counter()
            self.in_task = False
        except BaseException as error:
            self.in_task = False
            self._fail(run, task, error)
            return
        finally:
            for given in parcels:
                given.close()
        measures = self._measures(stop - begun, result)
        self._flush_output()
        if is_plain(result):
            self._send("result", run, task, begun, stop, (result, measures, b""))
            return
        self.page[PACKING] = task
        packed, why = [], b""
        try:
            packed = [Parcel.of(result)]
        except BaseException as error:
            why = pack_error(error)
        self.page[PACKING] = NOTHING
        self._send("result", run, task, begun, stop, (None, measures, why), parcels=packed)
        for parcel in packed:
            parcel.close()

    def _measures(self, seconds: float, result: Any) -> tuple[float, float] | None:
        """The CPU time of the task that has just run, and the bytes of its result, if it was long enough."""
        cpu = self._spent()
        return (min(cpu, seconds), bytes_of(result)) if seconds > LONG else None

    def _spent(self) -> float:
        """The CPU time of this thread since the last time."""
        now = thread_time()
        spent, self.cpu = now - self.cpu, now
        return spent

    def _batch(
        self,
        run: int,
        size: int,
        constants: int,
        chunks: list[tuple[Any, ...]],
        returns: int,
        first: int,
        tasks: Sequence[int],
        remote: dict[int, Any],
        packed: dict[int, int],
        dropped: list[int],
        parcels: list[Parcel],
    ) -> None:
        """Run tasks one after the other, until one fails or must go back, and the others with it.

        What was sent before the parent knew that tasks went back is not run: it may build on those.
        """
        slots = self.slots
        if slots.run != run:
            self.slots.close()
            slots = self.slots = Slots(run, size, constants)
        for chunk in chunks:
            slots.learn(chunk, parcels)
        slots.drop(dropped)
        slots.results.update(remote)
        for slot, number in packed.items():
            slots.packed[slot] = parcels[number]
        if returns != slots.returns:
            return
        if self.page[RUN] != run:
            self.page[POSITION] = NOTHING
            self.page[RUN] = run
        with self.reporting:
            self.times, self.tasks, self.first, self.reported = [], tasks, first, first
        try:
            self._run(slots)
        except BaseException as error:
            self.in_task = False
            position = max(first, int(self.page[POSITION]))  # an interrupt may come before the first one is noted
            task = tasks[position - first]
            self._report()
            if missing := slots.missing(task):  # after a death: what the parent believes to be here is not
                self._return(position, missing)
            else:
                self._fail(run, task, error)
        else:
            self._report()

    def _fail(self, run: int, task: int, error: BaseException) -> None:
        stop = perf_counter()
        self._flush_output()
        self.page[PACKING] = task
        packed = pack_error(error)
        self.page[PACKING] = NOTHING
        self._send("failed", run, task, self.page[STARTED], stop, packed)

    def _return(self, position: int, missing: Sequence[int] = ()) -> None:
        """Give back what stands from a position on."""
        self.slots.returns += 1
        self._send("returned", self.slots.run, position, missing)

    # -- the hot loop ---------------------------------------------------------------------------------------------

    def _run(self, slots: Slots) -> None:
        page, clock, times = self.page, perf_counter, self.times
        run, packed = slots.run, slots.packed
        codes, functions, args, uses, results = slots.codes, slots.functions, slots.args, slots.uses, slots.results
        get_result = results.__getitem__
        report_every = page[REPORT]
        begun = start = clock()
        self.in_task = True
        for position, task in enumerate(self.tasks, self.first):
            page[STARTED] = start
            page[POSITION] = position
            if position >= page[LIMIT] or page[CANCELLED] >= run:
                self.in_task = False
                self._report()
                self._return(position)
                return
            function = functions[codes[task]]
            if function is None:
                function = slots.function(task)
            # Results are in no variable of this loop, so that they go when they are released.
            arg = args[task]
            if arg.__class__ is int:
                if packed and arg in packed:
                    slots.unpack(arg)
                results[task] = function(results[arg])
                uses[arg] -= 1
                if not uses[arg]:
                    del results[arg]
            else:
                if packed:
                    for slot in arg:
                        if slot in packed:
                            slots.unpack(slot)
                results[task] = function(*map(get_result, arg))
                for slot in arg:
                    uses[slot] -= 1
                    if not uses[slot]:
                        del results[slot]
            stop = clock()
            times += (start, stop)
            start = stop
            if stop - begun > report_every:
                self.in_task = False
                self._report()
                self.in_task = True
                begun = start = clock()
        self.in_task = False

    # -- what goes back -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Tell what has been done since the last time."""
        with self.reporting:
            n = len(self.times) // 2
            if not n:
                return
            first = self.reported
            times = self.times[: 2 * n]
            tasks = self.tasks[first - self.first : first - self.first + n]
            values, sizes, failed = self.slots.look_over(tasks, self.page)
            parcels = list(failed[0].values())
            self._flush_output()
            numbers = {task: number for number, task in enumerate(failed[0])}
            fields = (first, times, values, sizes, numbers, failed[1], self._spent())
            self._send("report", self.slots.run, *fields, parcels=parcels)
            for parcel in parcels:
                parcel.close()
            del self.times[: 2 * n]
            self.reported = first + n

    def say(self, what: str, payload: bytes) -> None:
        """Have the parent hear a warning or a log record."""
        self._send("said", what, payload)

    def _send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        self.work.send(*encode(kind, *fields, parcels=parcels))

    def _flush_output(self) -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass

    # -- the other thread -----------------------------------------------------------------------------------------

    def _serve_data(self) -> None:
        """Answer while the main thread is inside a task, until the parent is gone."""
        with contextlib.suppress(OSError):
            while (received := self.data.receive()) is not None:
                kind, fields, _ = decode(*received)
                run = fields[0]
                if run != self.slots.run:
                    continue
                if kind == "report":
                    self._report()
                elif kind == "drop":
                    self.slots.drop(fields[1])
                elif kind == "fetch":
                    self._fetch(run, fields[1])
        os._exit(1)  # in the midst of a task, where the kernel has not seen to that

    def _fetch(self, run: int, slot: int) -> None:
        """Send a copy of a result."""
        if slot not in self.slots.results:
            self._send("missing", run, slot)
            return
        self.page[FETCHING] = slot
        try:
            parcel = self.slots.parcel(slot)
        except BaseException as error:
            self._send("no_data", run, slot, pack_error(error))
        else:
            self._send("data", run, slot, parcels=[parcel])
            parcel.close()
        finally:
            self.page[FETCHING] = NOTHING
