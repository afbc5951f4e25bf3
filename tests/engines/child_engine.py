"""An engine for tests whose tasks run in child processes: what holds for it holds for every such engine to come."""

import operator
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any

import cloudpickle

from taskloom.bus import Run
from taskloom.engines import ENGINES, Engine
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer, Outcomes, call, run_observed
from taskloom.graph import Plan


class _ByValue:
    """Work that travels with its functions, so that the child need not import them."""

    def __init__(self, work: Any) -> None:
        self.work = work

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (cloudpickle.dumps(self.work),)


def _call_there(function: Any, args: list[Any]) -> bytes:
    outcome = call(function, args)
    try:
        return bytes(cloudpickle.dumps(outcome))
    except Exception as error:
        outcome.error = TypeError(f"could not travel: {error}")
        return bytes(cloudpickle.dumps(outcome))


cloudpickle.register_pickle_by_value(sys.modules[__name__])


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
                    outcomes.put((task, pickle.loads(future.result())))

                pool.submit(operator.call, _ByValue(partial(_call_there, function, args))).add_done_callback(arrived)

            return run_observed(plan, run, observer or Observer([], {}, {}), submit, outcomes, width=1)


@contextmanager
def child_engine() -> Iterator[None]:
    """Register the engine meanwhile, under the name ``"child"``."""
    ENGINES["child"] = ChildEngine()
    try:
        yield
    finally:
        del ENGINES["child"]
