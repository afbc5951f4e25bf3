"""What runs in a worker of a cluster: threads that run tasks, and one that answers meanwhile.

Idle threads take turns in reading messages: one of them reads, the others wait for that. With a single thread there is
thus no hand-over between threads: it receives tasks, runs them, and reports. Thread 0 of a worker process is its main
thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

from taskloom.engines.cluster.worker.answers import Answers
from taskloom.engines.cluster.worker.channel import Channel, Gone
from taskloom.engines.cluster.worker.ending import ended_badly
from taskloom.engines.cluster.worker.handle import WorkerHandle
from taskloom.engines.cluster.worker.page import (
    EACH,
    FINISHED,
    MOST_THREADS,
    STARTED,
    TASK,
    THREAD,
    THREADS,
    Words,
    word,
)
from taskloom.engines.cluster.worker.place import Wait, WorkerInfo, current_task, give_back, place, waiting
from taskloom.engines.cluster.worker.plugins import Plugins
from taskloom.engines.cluster.worker.reports import LARGE, REPORT_EVERY, Reports
from taskloom.engines.cluster.worker.room import Room
from taskloom.engines.cluster.worker.stop import NO_TASK, stop
from taskloom.engines.cluster.worker.store import Package
from taskloom.engines.worker.page import NOTHING
from taskloom.engines.worker.parcel import is_plain
from taskloom.errors import SpillError

__all__ = ["Worker", "current_task", "waiting"]

LONG = 0.001  # seconds: what takes longer may have made something large whose size nobody knows

_SIMPLE = frozenset({type(None), bool, float})  # always plain
_UNMEASURED = frozenset({tuple, list, dict, set, frozenset})  # `bytes_of` does not know their sizes


class Worker(Reports):
    """Runs tasks and keeps their results.

    Attributes
    ----------
    running : per thread the id of the task that it is in. A thread may be stopped exactly while one is noted here; ~id
        stands for a task that must not be stopped just now.
    page : what each thread does, for the coordinator to see.
    """

    def __init__(self, channel: Channel, page: Words) -> None:
        super().__init__(channel, page)
        self.info = WorkerInfo()
        self.handle = WorkerHandle(self)
        self.plugins = Plugins(self)
        self.room = Room(self.store, self.queue, page, channel, self.resident)
        self.running = [NO_TASK] * MOST_THREADS
        self.idents: dict[int, int] = {}  # by thread
        self.seceded: dict[int, Wait] = {}  # by thread, of tasks that others run in the place of
        self._free = list(range(MOST_THREADS - 1, 0, -1))  # numbers for threads, the next one last
        self._surplus = 0  # of those that are to end when they are idle
        self._changing = threading.Lock()  # threads
        self._reading = threading.Lock()  # held by the idle thread whose turn it is to wait for messages
        self._taking_in = threading.Lock()
        self._idle: set[int] = set()
        self._gone = False  # the coordinator
        self._on_work: dict[str, Callable[..., None]] = {
            "setup": self._setup,
            "adopt": self._adopt,
            "join": self._join,
            "keys": self.plugins.learn,
            "limits": self.room.set_up,
            "tasks": self._tasks,
        }

    # -- what differs between a process of its own and threads of this one ----------------------------------------

    def stop(self, thread: int, id: int) -> None:
        """Get a thread out of a task, if it is in that one."""
        stop(self.running, thread, self.idents[thread], id)

    def end(self) -> None:
        """The coordinator is gone."""

    def _setup(self, path: list[str], directory: str, environment: dict[str, str], parcels: object) -> None:
        pass

    def _adopt(self, manner: bytes, parcels: object) -> None:
        pass

    # -- threads --------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Be thread 0, until the coordinator is gone."""
        self.start_thread("taskloom-data", Answers(self).serve)
        self.page[THREADS] = 1
        self._work(0)

    def start_thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=target, args=args, name=name, daemon=True).start()

    def _start_task_thread(self) -> None:
        if not self._free:
            return
        thread = self._free.pop()
        self.page[THREADS] = max(self.page[THREADS], thread + 1)
        self.start_thread(f"taskloom-task-{thread}", self._work, thread)

    def _work(self, thread: int) -> None:
        """Be one of the threads that run tasks."""
        place.worker, place.thread = self, thread
        self.idents[thread] = threading.get_ident()
        while self._find_tasks(thread):
            self._run(thread)
            self.report()
            self.page[word(thread, TASK)] = NOTHING

    def _find_tasks(self, thread: int) -> bool:
        """Wait until there are tasks; returns whether this thread is to run them, or to end."""
        self.queue.settle()
        self._idle.add(thread)
        with self._reading:
            while not self._leaves(thread):
                if self.queue.ready:
                    self._idle.discard(thread)
                    return True
                self.channel.wait_for_work()
                self.take_in(1)
        return False

    def take_in(self, most: int = 1_000_000) -> None:
        """Take in messages of work that are there. The thread that answers questions does so, too: a question may be
        about tasks that came before it, while all threads that read them are inside of tasks."""
        with self._taking_in:
            try:
                while most and (message := self.channel.take_work()) is not None:
                    kind, fields, parcels = message
                    self._on_work[kind](*fields, parcels)
                    del message, fields, parcels  # they may hold results
                    most -= 1
            except Gone:
                self._gone = True

    def _leaves(self, thread: int) -> bool:
        if self._gone:
            return True
        if not thread or not self._surplus:
            return False
        with self._changing:
            if not self._surplus:
                return False
            self._surplus -= 1
            self._idle.discard(thread)
            del self.idents[thread]
            self._free.append(thread)
        return True

    def has_thread(self) -> bool:
        """Whether there can be one more."""
        return bool(self._free or self._surplus)

    def block(self) -> None:
        """A task waits for others: have one more thread."""
        self.report()
        self.channel.send("blocked")
        with self._changing:
            if self._surplus:
                self._surplus -= 1
            else:
                self._start_task_thread()

    def unblock(self) -> None:
        """It goes on."""
        with self._changing:
            self._surplus += 1
        self.wake_idle()
        self.channel.send("unblocked")

    def heed(self, id: int) -> None:
        """Leave the task if it has been cancelled; the caller is inside of it."""
        if id in self.queue.cancelled:
            raise KeyboardInterrupt

    def wake_idle(self) -> None:
        if self._idle:
            self.channel.wake()

    # -- messages of work -----------------------------------------------------------------------------------------

    def _join(
        self, number: int, name: str, threads: int, address: str | None, secret: bytes | None, parcels: object
    ) -> None:
        self.info = WorkerInfo(number, name, threads, address, secret)
        self.handle.join(self.info)
        with self._changing:
            for _ in range(threads - 1):
                self._start_task_thread()

    def _tasks(
        self,
        ids: list[int],
        codes: list[int],
        args: list[tuple[int, ...]],
        plains: list[tuple[Any, ...]],
        functions: dict[int, int],
        values: dict[int, Any],
        packed: dict[int, int],
        dropped: list[int],
        dropped_codes: list[int],
        parcels: Sequence[Package],
    ) -> None:
        if dropped or dropped_codes:
            self.drop(dropped, dropped_codes)
        if functions or values or packed:
            self.store.learn(functions, values, packed, parcels)
        if packed and self.room.is_short():
            self.start_thread("taskloom-spill", self.room.make_aside)
        self.queue.extend(ids, zip(ids, codes, args, plains, strict=True))
        if self.queue.awaited:
            for id in (*values, *packed):
                self.queue.arrived(id)

    def drop(self, ids: Sequence[int], codes: Sequence[int]) -> None:
        """Forget results and functions."""
        self.store.drop(ids, codes)
        self.plugins.released(ids)

    # -- the hot loop ---------------------------------------------------------------------------------------------

    def _run(self, thread: int) -> None:
        """Run tasks until none is ready."""
        clock, page, running = perf_counter, self.page, self.running
        store, queue, room = self.store, self.queue, self.room
        values, functions, get_value = store.values, store.functions, store.values.__getitem__
        next_task, awaited, cancelled = queue.ready.popleft, queue.awaited, queue.cancelled
        task_word = THREAD + EACH * thread + TASK
        started_word, finished_word = task_word + STARTED, task_word + FINISHED
        finished, done = page[finished_word], self._done
        here: Any = None
        function: Any
        start = clock()
        while True:
            try:
                task = next_task()
            except IndexError:
                return
            id, code, args, plains = task
            page[task_word] = id
            page[started_word] = start
            absent = None
            try:
                running[thread] = id
                if cancelled and id in cancelled:
                    raise KeyboardInterrupt
                # Values are in no variable of this loop while it goes on, so that they go when they are dropped.
                arguments: Any
                try:
                    function = functions[code]
                    if not plains:
                        arguments = [*map(get_value, args)] if args else ()
                    else:
                        arguments = [values[arg] if arg >= 0 else plains[~arg] for arg in args]
                except KeyError:
                    arguments = None
                if arguments is None:
                    here = store.unpack(code, args)
                    running[thread] = NO_TASK  # what follows is not the task's: nobody is to stop it
                    if room.is_short():
                        with suppress(SpillError):
                            room.make()
                    running[thread] = id
                    if cancelled and id in cancelled:  # while something was imported, or written
                        raise KeyboardInterrupt
                    absent = [arg for arg in args if arg >= 0 and arg not in here]
                    if not absent:
                        function = functions[code]
                        arguments = [here[arg] if arg >= 0 else plains[~arg] for arg in args]
                        start = page[started_word] = clock()
                    here = None
                if not absent:
                    result = function(*arguments)
                running[thread] = NO_TASK
            except BaseException as error:
                running[thread] = NO_TASK
                arguments = function = here = None
                ended_badly(self, thread, id, start, error)
                start = clock()
                continue
            if absent:
                page[task_word] = NOTHING
                if lost := queue.park(task, absent):
                    self.miss([(id, lost), *queue.lose((id,))])
                continue
            stop = clock()
            arguments = function = None
            kind = type(result)
            size = 0.0
            if kind in _SIMPLE or is_plain(result):
                done += (id, start, stop, result)
            else:
                if kind not in _UNMEASURED:
                    size = self._measured(thread, id, result)
                if (size > LARGE or stop - start > LONG) and room.is_short(size):
                    try:
                        room.make(size)
                    except SpillError as error:
                        result = None
                        ended_badly(self, thread, id, start, error)
                        start = clock()
                        continue
                self._sizes[id] = size
                done += (id, start, stop, None)
            values[id] = result  # no other thread has run since it was noted: whoever uses it is noted later
            result = None
            finished += 1
            page[finished_word] = finished
            if awaited and id in awaited:
                queue.arrived(id)
                if len(queue.ready) > 1:
                    self.wake_idle()
            if cancelled:
                cancelled.discard(id)
            if stop - self._reported > REPORT_EVERY or size > LARGE:
                page[task_word] = NOTHING
                self.report()
                start = clock()
            else:
                start = stop

    def forget(self, ids: Sequence[int]) -> None:
        self.plugins.forgotten(ids)
        super().forget(ids)

    def report(self) -> None:
        if self.seceded:
            give_back(self)
        super().report()
