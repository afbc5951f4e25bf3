"""One run on the threads engine, and what its workers share."""

from __future__ import annotations

import threading
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from threading import get_ident
from time import perf_counter
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.crew import crew
from taskloom.engines.in_order import run_in_order
from taskloom.engines.interrupt import Interrupt, event_loop_is_running
from taskloom.engines.measure import LONG, Meter
from taskloom.engines.nesting import Inside, at_work
from taskloom.graph import Plan

WORTH_A_CALL = 50e-6  # seconds: tasks that take longer are worth waking a helper for at once


class ThreadsRun:
    """One run, and what its workers share.

    It starts as on the sync engine: the first worker runs the tasks in their order, with nothing to share. When a
    helper joins, it takes stock of what is left, and from then on all workers take from one heap of ready tasks.
    """

    def __init__(self, plan: Plan, run: Run, num_workers: int, context: Context) -> None:
        self.plan = plan
        self.run = run
        self.num_workers = num_workers
        self.first = 0  # the thread of the first worker
        self.last_progress = -1
        self.stalled = 0
        self.since = perf_counter()
        outer: ThreadsRun | None = getattr(at_work, "run", None)
        self._outermost = None if outer is None else outer.outermost  # None, not self: a circle would outlive the run
        self.inside = Inside()
        self.context = context
        self.results = plan.results()
        self.error: BaseException | None = None
        self.caller_works = False
        self.over = threading.Lock()  # held until the run is over
        self.over.acquire()
        self.lock = threading.Lock()  # guards everything below
        self.halt: list[str] = []  # not empty once the first worker should run tasks in their order no longer
        self.shared = False
        self.owned = -1  # the task that the first worker had in hand when stock was taken
        self.missing: list[int] = []  # per task how many of its inputs are not there yet
        self.uses: list[int] = []  # per slot how many tasks are still to take it
        self.roots: list[int] = []  # tasks that could start when stock was taken, the first one last
        self.ready: list[int] = []  # a heap of those that have become ready since
        self.numbers: dict[int, int] = {}  # thread -> worker number
        self.current: list[int] = []  # per worker what it runs

    # -- the calling thread ---------------------------------------------------------------------------------------

    def execute(self, interrupt: Interrupt) -> list[Any]:
        """Run the plan, with the calling thread as the first worker where it is free to be one.

        The main thread is not, where there is more than one task: an interrupt should not have to wait for the end of
        a long one, and malloc hands memory that the main thread frees back to the system more often, so that a rechunk
        of large arrays took 8 % longer.
        """
        __tracebackhide__ = True
        self.run.on_cancel(partial(self._cancel, interrupt))
        several = self.num_workers > 1 and len(self.plan) > 1
        try:
            if self.run.stopped:  # cancelled before anybody could be told
                raise self.run.cancelled()
            if several:
                crew.open(self)
                if crew.asleep:
                    crew.call(self)
            in_main = several and get_ident() == threading.main_thread().ident
            if not ((in_main or event_loop_is_running()) and crew.dispatch(self._stand_in, self)):
                self._work_as_caller()
            if self.over.locked():
                self._wait()
        except BaseException as error:
            self._stop()
            if isinstance(error, KeyboardInterrupt):
                self.inside.cancel()
            raise
        finally:
            if several:
                try:
                    crew.close(self)
                except KeyboardInterrupt:
                    crew.close(self)
                    raise
        if self.error is not None:
            raise self._take_error()
        if self.run.stopped:
            raise self.run.cancelled()
        return self.results

    def _work_as_caller(self) -> None:
        outer = getattr(at_work, "run", None)
        try:
            if outer is None:
                crew.enter()
            self.caller_works, at_work.run = True, self
            self.context.run(self._work_first)
        finally:
            self.caller_works = False
            at_work.run = outer
            if outer is None:
                try:
                    crew.leave()
                except KeyboardInterrupt:
                    crew.leave()
                    raise

    def _stand_in(self) -> None:
        """Be the first worker, in place of a caller whose thread has other things to do."""
        at_work.run = self
        try:
            self.context.copy().run(self._work_first)
        finally:
            at_work.run = None
            crew.leave()

    def _wait(self) -> None:
        """Wait until the others are done. A task that waits for a run inside it gives its place away meanwhile."""
        if getattr(at_work, "run", None) is None:
            self.over.acquire()
            return
        run = crew.leave()
        try:
            self.over.acquire()
        finally:
            crew.enter(run)

    def _take_error(self) -> BaseException:
        """The error, kept here no longer: its traceback knows this object, and a circle would hold the results."""
        error, self.error = self.error, None
        assert error is not None
        return error

    def _cancel(self, interrupt: Interrupt) -> None:
        self._stop()
        self.inside.cancel()
        self._finish()
        if self.caller_works:
            interrupt.send()

    # -- helpers --------------------------------------------------------------------------------------------------

    @property
    def outermost(self) -> ThreadsRun:
        return self._outermost or self

    def surplus(self) -> bool:
        if self.shared:
            return bool(self.ready or self.roots) and not self.run.stopped
        # Perhaps, once the first task has begun: taking stock will tell.
        return self.run.start[0] > 0.0 and not self.halt and len(self.plan) - len(self.run.done) > 1

    def is_new(self) -> bool:
        return self.run.start[0] == 0.0 and not self.halt

    def progress(self) -> int:
        return len(self.run.done)

    def help(self) -> None:
        at_work.run = self
        try:
            self._take_stock()
            if self.shared:
                self.context.copy().run(self._work_shared, -1)
        finally:
            at_work.run = None

    def _take_stock(self) -> None:
        """Count what is left to do, so that several workers can take part.

        The first worker goes on meanwhile, by one task at most: the tasks before ``len(run.done)`` are done, that
        one is in its hands, and it runs no other in their order once `halt` has an entry.
        """
        plan = self.plan
        plan.dependents  # noqa: B018 - made here, not while another worker waits for the lock
        with self.lock:
            if self.halt:
                return
            self.halt.append("shared")
            owned = len(self.run.done)
            if owned == len(plan):
                return
            missing, uses = [0] * len(plan), [0] * len(self.results)
            for task in range(owned, len(plan)):
                arg = plan.args[task]
                for slot in (arg,) if arg.__class__ is int else arg:
                    uses[slot] += 1
                    if slot >= owned:
                        missing[task] += 1
            for slot in plan.requested:
                uses[slot] += 1  # by the caller, who never gives it back
            self.missing, self.uses, self.owned = missing, uses, owned
            self.roots = [task for task in range(len(plan) - 1, owned, -1) if not missing[task]]
            self.run.current = self.current = [owned]
            self.shared = True

    # -- every worker ---------------------------------------------------------------------------------------------

    def _work_first(self) -> None:
        """Run tasks in their order while nobody helps, then share."""
        __tracebackhide__ = True
        self.first = get_ident()
        self._number()
        try:
            done = run_in_order(self.plan, self.run, self.results, self.halt)
        except BaseException as error:
            with self.lock:  # until stock has been taken: helpers add to what is done
                task = self.owned if self.shared else len(self.run.done)
            self._fail(task, error)
            self._finish()
            return
        with self.lock:  # until stock has been taken
            task = -1
            if self.shared and done > self.owned:
                task = self.owned
            elif self.shared:
                self.roots.append(done)
        if self.shared:
            self._work_shared(task)
        else:
            self._finish()

    def _work_shared(self, task: int) -> None:
        """Run tasks until none is ready or the run is stopped; `task` is one that has just been done, or -1.

        This is the hot loop: booking and choosing take the lock once a task, or not at all where the task that
        follows waited for this one alone.
        """
        __tracebackhide__ = True
        run, plan, results, uses, missing = self.run, self.plan, self.results, self.uses, self.missing
        functions, args, dependents = plan.functions, plan.args, plan.dependents
        lock, ready, roots, stopped = self.lock, self.ready, self.roots, run.stopped
        starts, stops, workers, finished = run.start, run.stop, run.worker, run.done.append
        number = self._number()
        current = self.current
        get_result = results.__getitem__
        meter = Meter(run)
        clock, long, worth_a_call = perf_counter, LONG, WORTH_A_CALL
        took, stop = 0.0, clock()
        taken: Any = _slots(args[task]) if task >= 0 else ()  # inputs whose uses are still to be counted down
        try:
            while True:
                dead = []
                with lock:
                    for slot in taken:
                        uses[slot] -= 1
                        if not uses[slot]:
                            dead.append(slot)
                    users = dependents[task] if task >= 0 else None
                    if users is not None:
                        for user in users if users.__class__ is list else (users,):
                            missing[user] -= 1
                            if not missing[user]:
                                heappush(ready, user)
                    if stopped:
                        task = -1
                    elif ready and (not roots or ready[0] < roots[-1]):
                        task = heappop(ready)
                    else:
                        task = roots.pop() if roots else -1
                if dead:
                    for slot in dead:  # not under the lock: a result may have a finalizer
                        results[slot] = None
                    stop = clock()
                if task < 0:
                    break
                if (roots or ready) and (crew.asleep or took > worth_a_call):
                    crew.call(self)
                    stop = clock()
                while True:
                    current[number] = task
                    workers[task] = number
                    starts[task] = start = stop  # nothing worth a reading has happened since
                    # Results are in no variable of this loop, so that they go when they are released.
                    arg = args[task]
                    taken = ()
                    if arg.__class__ is int:
                        results[task] = functions[task](results[arg])
                        if uses[arg] == 1:  # nobody else will take it: no need to count
                            results[arg] = None
                        else:
                            taken = (arg,)
                    else:
                        results[task] = functions[task](*map(get_result, arg))
                        for slot in arg:
                            if uses[slot] == 1:
                                results[slot] = None
                            else:
                                taken = arg
                    stops[task] = stop = clock()
                    finished(task)
                    took = stop - start
                    if took > long:
                        meter.measure(task, results[task])
                        stop = clock()
                    users = dependents[task]
                    if taken or users.__class__ is not int or missing[users] != 1 or stopped:
                        break
                    task = users  # it waited for this task alone
        except BaseException as error:
            self._fail(task, error)
        current[number] = -1
        if stopped or len(run.done) == len(plan):
            self._finish()

    def _number(self) -> int:
        """The number of the calling thread among the run's workers."""
        with self.lock:
            number = self.numbers.get(get_ident())
            if number is None:
                number = self.numbers[get_ident()] = self.run.join(threading.current_thread().name)
                if self.shared:
                    self.current.append(-1)
            return number

    def _fail(self, task: int, error: BaseException) -> None:
        with self.lock:
            first = self.error is None
            if first:
                self.error = error
        if first and not isinstance(error, KeyboardInterrupt):  # which may come behind the last task
            self.run.fail(task, self.plan, error, self.plan.inputs(task, self.results))
        self._stop()

    def _stop(self) -> None:
        """Let no further task start."""
        self.run.stopped.append("stopped")
        with self.lock:
            self.halt.append("stopped")
            self.roots.clear()
            self.ready.clear()

    def _finish(self) -> None:
        with self.lock:
            if self.over.locked():
                self.over.release()


def _slots(arg: Any) -> tuple[int, ...]:
    return (arg,) if arg.__class__ is int else arg
