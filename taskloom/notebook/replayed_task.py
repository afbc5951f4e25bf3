"""One task of the last run with the inputs it had, ready to run again in this thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from taskloom.bus import Run, current_run
from taskloom.graph import Key, Plan, Recipe, apply
from taskloom.views.labels import key_label


@dataclass(frozen=True)
class ReplayedTask:
    """A task of `run`: calling it runs it once more."""

    run: Run
    key: Key
    function: Callable[..., Any]
    inputs: tuple[Any, ...]

    def __call__(self) -> Any:
        """Run the task. What it computes itself counts as part of its run, which stays the last one."""
        __tracebackhide__ = True
        function, inputs = self.function, self.inputs  # where a debugger finds them
        token = current_run.set(self.run)
        try:
            return function(*inputs)
        finally:
            current_run.reset(token)

    def without_own_frames(self, error: BaseException) -> BaseException:
        """The exception, its traceback beginning where the task does.

        Where the task's function has no Python frame, its traceback is that of `__call__`, which has the inputs.
        """
        found = error.__traceback__
        while found is not None and found.tb_frame.f_code is not ReplayedTask.__call__.__code__:
            found = found.tb_next
        if found is not None:
            error.with_traceback(found.tb_next or found)
        return error

    def codes(self) -> frozenset[CodeType]:
        """The code of the user's functions in the task; none where they are not written in Python."""
        return frozenset(_codes(self.function, self.inputs))


def _codes(function: Any, inputs: Iterable[Any] = ()) -> Iterator[CodeType]:
    if function is apply:  # apply(function, args, kwargs)
        function = next(iter(inputs), None)
    if isinstance(function, Recipe):
        for inner in [function.func, *(step[0] for step in function.program if step is not None)]:
            if inner is not apply:
                yield from _codes(inner)
        return
    for _ in range(100):  # a mock has a `func` that has a `func`, without end
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if inner is None or not callable(inner):
            break
        function = inner
    if isinstance(function, type):
        function = vars(function).get("__init__")
    elif not isinstance(function, FunctionType | MethodType | partial):
        function = getattr(type(function), "__call__", None)  # noqa: B004
    with suppress(AttributeError):
        yield function.__code__


def task_of(run: Run, plan: Plan, number: int) -> ReplayedTask:
    """A task of a plan, its inputs computed again unless the run still has them. Says how many tasks that takes."""
    key, function = plan.keys[number], plan.functions[number]
    failure = run.failure
    if failure is not None and failure.function is not None and number == run.failed_task:
        return ReplayedTask(run, key, function, failure.inputs)
    needed = _ancestors(plan, number)
    if needed:
        print(f"Computing the inputs of {key_label(key)} again first: {_tasks(len(needed))}.")
    return ReplayedTask(run, key, function, tuple(_inputs(run, plan, number, needed)))


def _tasks(count: int) -> str:
    return f"{count:,} task{'s' if count > 1 else ''}"


def _ancestors(plan: Plan, number: int) -> list[int]:
    """The tasks that `number` needs, in an order in which they can run."""
    needed: set[int] = set()
    todo = [number]
    while todo:
        new = set(plan.dependencies(todo.pop())) - needed
        needed |= new
        todo += new
    return sorted(needed)


def _inputs(run: Run, plan: Plan, number: int, needed: list[int]) -> list[Any]:
    """The inputs of a task, by running those it needs, each result kept as long as somebody takes it."""
    __tracebackhide__ = True
    results = plan.results()
    uses = Counter(slot for task in [*needed, number] for slot in plan.dependencies(task))
    for task in needed:
        results[task] = ReplayedTask(run, plan.keys[task], plan.functions[task], tuple(plan.inputs(task, results)))()
        for slot in plan.dependencies(task):
            uses[slot] -= 1
            if not uses[slot]:
                results[slot] = None
    return plan.inputs(number, results)
