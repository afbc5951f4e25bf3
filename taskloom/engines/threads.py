"""The threads engine: workers take from one stack of ready tasks and go on with those they made ready."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from queue import SimpleQueue
from threading import get_ident
from time import perf_counter
from typing import Any

from taskloom import config
from taskloom.bus.run import Run, current_run
from taskloom.engines.base import Engine, workers_wanted
from taskloom.engines.crew import crew
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.measure import LONG, Meter
from taskloom.engines.observed import Observer, Outcomes, Submit, call, run_observed
from taskloom.engines.pools import pool_size, submit_to
from taskloom.graph import Plan

WORTH_A_CALL = 50e-6  # seconds: tasks that take longer are worth waking a helper for at once


class ThreadsEngine(Engine):
    """Several tasks at a time, in threads of this process."""

    name = "threads"
    names = ("threads", "threading")
    summary = "Several tasks at a time in this process: for NumPy, pandas, files and network, which let go of the lock."
    options = frozenset({"num_workers", "pool"})

    def run(
        self,
        plan: Plan,
        run: Run,
        interrupt: Interrupt,
        observer: Observer | None,
        *,
        num_workers: int | None = None,
        pool: Any = None,
        **options: Any,
    ) -> list[Any]:
        __tracebackhide__ = True
        context = copy_context()
        context.run(current_run.set, run)
        if pool is None:
            pool = config.get("pool")
        if pool is None and observer is None:
            return ThreadsRun(plan, run, workers_wanted(num_workers), context).execute(interrupt)
        outcomes: Outcomes = SimpleQueue()
        run.on_cancel(partial(outcomes.put, None))
        if pool is None:
            submit, width = _submit_to_crew(outcomes, context), workers_wanted(num_workers)
        else:
            submit = submit_to(pool, outcomes, context)
            width = pool_size(pool) if num_workers is None else workers_wanted(num_workers)
        return run_observed(plan, run, observer or Observer([], {}, {}), submit, outcomes, width)


def _submit_to_crew(outcomes: Outcomes, context: Context) -> Submit:
    def submit(task: int, function: Callable[..., Any], args: list[Any]) -> None:
        crew.dispatch(lambda: outcomes.put((task, context.copy().run(call, function, args))))

    return submit


_thread = threading.local()  # .at_work: this thread executes a task, and is counted by the crew


class ThreadsRun:
    """What the workers of one run share."""

    def __init__(self, plan: Plan, run: Run, num_workers: int, context: Context) -> None:
        self.plan = plan
        self.run = run
        self.num_workers = num_workers
        self.last_progress = -1
        self.stalled = 0
        self.context = context
        self.lock = threading.Lock()  # guards the counts and the choice of the next task
        self.results = plan.results()
        self.dependents = plan.dependents
        self.missing = [0] * len(plan)  # per task how many of its inputs are not there yet
        self.uses = self._count_uses()  # per slot how many tasks are still to take it
        self.roots = self._find_roots()  # tasks that need nothing, the first one last
        self.ready: list[int] = []  # a heap of the other tasks that can start
        self.error: BaseException | None = None
        self.over = threading.Lock()  # held until the run is over
        self.over.acquire()
        self.numbers: dict[int, int] = {}  # thread -> worker number
        self.caller_works = False
        self.current: list[int] = []  # per worker what it runs
        run.current = self.current

    def _count_uses(self) -> list[int]:
        uses = [1 if users.__class__ is int else 0 if users is None else len(users) for users in self.dependents]
        uses += [1] * len(self.plan.constants)
        never = 1 << 60
        for slot in [*self.plan.data.values(), *self.plan.requested]:
            uses[slot] = never
        return uses

    def _find_roots(self) -> list[int]:
        missing = self.missing
        roots = []
        for task, arg in enumerate(self.plan.args):
            if arg.__class__ is int:
                if arg >= 0:
                    missing[task] = 1
                    continue
            else:
                for slot in arg:
                    if slot >= 0:
                        missing[task] += 1
                if missing[task]:
                    continue
            roots.append(task)
        roots.reverse()
        return roots

    # -- the calling thread ---------------------------------------------------------------------------------------

    def execute(self, interrupt: Interrupt) -> list[Any]:
        """Run the plan, with the calling thread as the first worker where it is free to be one."""
        __tracebackhide__ = True
        self.run.on_cancel(partial(self._cancel, interrupt))
        if not self.roots:
            return self.results
        shared = self.num_workers > 1
        try:
            if shared:
                crew.open(self)
                if crew.asleep and len(self.roots) > 1:
                    crew.call()
            if _event_loop_is_running():
                crew.dispatch(self.stand_in)
            else:
                self._work_as_caller()
            if self.over.locked():
                self._wait()
        except BaseException:
            self._stop()
            raise
        finally:
            if shared:
                crew.close(self)
        error, self.error = self.error, None  # which would be a circle: its traceback knows this object
        if error is not None:
            raise error
        if self.run.stopped:
            raise self.run.cancelled()
        return self.results

    def _work_as_caller(self) -> None:
        nested = getattr(_thread, "at_work", False)
        try:
            if not nested:
                crew.enter()
            self.caller_works = _thread.at_work = True
            self.context.run(self._work)
        finally:
            self.caller_works = False
            _thread.at_work = nested
            if not nested:
                crew.leave()

    def _wait(self) -> None:
        """Wait until the others are done. A task that waits for a run inside it gives its place away meanwhile."""
        nested = getattr(_thread, "at_work", False)
        if nested:
            crew.leave()
        try:
            self.over.acquire()
        finally:
            if nested:
                crew.enter()

    def _cancel(self, interrupt: Interrupt) -> None:
        self._stop()
        self._finish()
        if self.caller_works:
            interrupt.send()

    # -- helpers --------------------------------------------------------------------------------------------------

    def surplus(self) -> bool:
        return bool(self.ready or self.roots)

    def progress(self) -> int:
        return len(self.run.done)

    def help(self) -> None:
        _thread.at_work = True
        try:
            self.context.copy().run(self._work)
        finally:
            _thread.at_work = False

    def stand_in(self) -> None:
        """Be the first worker, in place of a caller whose thread has an event loop to serve."""
        crew.enter()
        try:
            self.help()
        finally:
            crew.leave()

    # -- every worker ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Execute tasks until none is ready or the run is stopped. This is the hot loop."""
        __tracebackhide__ = True
        task = self._take()
        if task < 0:
            return
        run, plan, results, uses, missing = self.run, self.plan, self.results, self.uses, self.missing
        functions, args, dependents = plan.functions, plan.args, self.dependents
        lock, ready, roots, stopped = self.lock, self.ready, self.roots, run.stopped
        starts, stops, workers, finished = run.start, run.stop, run.worker, run.done.append
        current = self.current
        number = self._number()
        get_result = results.__getitem__
        meter = Meter(run)
        clock = perf_counter
        try:
            while task >= 0:
                current[number] = task
                if number:
                    workers[task] = number
                # Results are in no variable of this loop, so that they go when they are released.
                arg = args[task]
                shared = None  # inputs that other tasks are still to take
                if arg.__class__ is int:
                    starts[task] = start = clock()
                    results[task] = functions[task](results[arg])
                    stops[task] = stop = clock()
                    if uses[arg] == 1:  # nobody else will: no need to count
                        results[arg] = None
                    else:
                        shared = [arg]
                else:
                    starts[task] = start = clock()
                    results[task] = functions[task](*map(get_result, arg))
                    stops[task] = stop = clock()
                    for slot in arg:
                        if uses[slot] == 1:
                            results[slot] = None
                        elif shared is None:
                            shared = [slot]
                        else:
                            shared.append(slot)
                if stop - start > LONG:
                    meter.measure(task, results[task])
                finished(task)

                users = dependents[task]
                if shared is None and users.__class__ is int and missing[users] == 1 and not stopped:
                    task = users  # it waited for this task alone
                    continue
                dead = []
                with lock:
                    if shared is not None:
                        for slot in shared:
                            uses[slot] -= 1
                            if not uses[slot]:
                                dead.append(slot)
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
                for slot in dead:  # not under the lock: a result may have a finalizer
                    results[slot] = None
                if (roots or ready) and (crew.asleep or stop - start > WORTH_A_CALL) and self.num_workers > 1:
                    crew.call()
        except BaseException as error:
            self._fail(task, error)
        current[number] = -1
        if stopped or len(run.done) == len(plan):
            self._finish()

    def _take(self) -> int:
        """The next task that can start, or -1."""
        with self.lock:
            if self.ready and (not self.roots or self.ready[0] < self.roots[-1]):
                return heappop(self.ready)
            return self.roots.pop() if self.roots else -1

    def _number(self) -> int:
        """The number of the calling thread among the run's workers."""
        with self.lock:
            number = self.numbers.get(get_ident())
            if number is None:
                self.current.append(-1)
                number = self.numbers[get_ident()] = self.run.join(threading.current_thread().name)
            return number

    def _fail(self, task: int, error: BaseException) -> None:
        with self.lock:
            first = self.error is None
            if first:
                self.error = error
        if first:
            self.run.fail(task, self.plan, error, self.plan.inputs(task, self.results))
        self._stop()

    def _stop(self) -> None:
        """Let no further task start."""
        self.run.stopped.append("stopped")
        with self.lock:
            self.roots.clear()
            self.ready.clear()

    def _finish(self) -> None:
        with self.lock:
            if self.over.locked():
                self.over.release()


def _event_loop_is_running() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
