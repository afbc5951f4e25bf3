"""An engine for tests whose tasks run in child processes: what holds for it holds for every such engine to come."""

import pickle
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any

from taskloom.bus import Run
from taskloom.engines import ENGINES, Engine
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer, Outcomes, run_observed
from taskloom.engines.pools import call_packed
from taskloom.engines.worker.failure import unpack_error
from taskloom.engines.worker.parcel import dumps
from taskloom.graph import Plan


class ChildEngine(Engine):
    """Each task in a child process of its own kind: nothing of it is shared with this one."""

    name = "child"
    names = ("child",)
    summary = "For tests."

    def run(self, plan: Plan, run: Run, interrupt: Interrupt, observer: Observer | None, **options: Any) -> list[Any]:
        __tracebackhide__ = True
        outcomes: Outcomes = SimpleQueue()
        run.on_cancel(partial(outcomes.put, None))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

            def submit(task: int, function: Any, args: list[Any]) -> None:
                def arrived(future: "Future[bytes]") -> None:
                    outcome, error = pickle.loads(future.result())
                    outcome.error = None if error is None else unpack_error(error)
                    outcomes.put((task, outcome))

                pool.submit(call_packed, dumps((function, args))).add_done_callback(arrived)

            return run_observed(plan, run, observer or Observer([], {}, {}), submit, outcomes, width=1)


@contextmanager
def child_engine() -> Iterator[None]:
    """Register the engine meanwhile, under the name ``"child"``."""
    ENGINES["child"] = ChildEngine()
    try:
        yield
    finally:
        del ENGINES["child"]
