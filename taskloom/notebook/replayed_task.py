"""One task of the last run with the inputs it had, ready to run again in this thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from traceback import walk_tb
from types import CodeType, FunctionType, MethodType
from typing import Any

from taskloom.bus import Run, current_run
from taskloom.graph import Key, Plan, apply
from taskloom.notebook.library_frames import hide_library_frames, is_of_library
from taskloom.views.labels import duration, key_label

WORTH_A_WORD = 1.0  # seconds: what takes longer is said before it is done again


@dataclass(frozen=True)
class ReplayedTask:
    """A task of `run`: calling it runs it once more."""

    run: Run
    plan: Plan
    number: int
    inputs: tuple[Any, ...]
    used: bool = False  # whether the inputs are those that it had when it failed, and may have changed since

    @property
    def key(self) -> Key:
        return self.plan.keys[self.number]

    @property
    def function(self) -> Callable[..., Any]:
        return self.plan.functions[self.number]

    def about_inputs(self) -> str:
        """A sentence on inputs that the task may have changed the first time; empty where it cannot have."""
        slots = self.plan.slots(self.number)
        if not self.used or all(slot < 0 or _is_fixed(value) for slot, value in zip(slots, self.inputs, strict=True)):
            return ""
        needed = _tasks(self.run, ancestors(self.plan, self.number))
        return f"Its inputs are as it left them: --fresh computes them again first, {needed}."

    def __call__(self) -> Any:
        """Run the task. What it computes itself counts as part of its run, which stays the last one."""
        __tracebackhide__ = True
        function, inputs = self.function, self.inputs  # where a debugger finds them
        token = current_run.set(self.run)
        try:
            return function(*inputs)
        finally:
            current_run.reset(token)

    def codes(self) -> frozenset[CodeType]:
        """The code of the user's functions in the task; none where they are not written in Python."""
        functions = [*_functions(self.function, self.inputs)]
        users = [function for function in functions if not is_of_library(getattr(function, "__module__", None))]
        return frozenset([code for function in users or functions if (code := getattr(function, "__code__", None))])


def without_own_frames(error: BaseException) -> BaseException:
    """The exception, its traceback beginning where the replayed task does.

    Where the task's function has no Python frame, its traceback is that of `__call__`, which has the inputs.
    """
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code is not ReplayedTask.__call__.__code__:
        found = found.tb_next
    if found is not None:
        error.with_traceback(found.tb_next or found)
        hide_library_frames([frame for frame, _ in walk_tb(error.__traceback__)])
    return error


def _functions(function: Any, inputs: Iterable[Any] = ()) -> Iterator[Any]:
    """The functions that a task calls, or has called by one of a library: those get it as an argument."""
    if function is apply:  # apply(function, args, kwargs)
        function = next(iter(inputs), None)
    for inner in getattr(type(function), "__taskloom_calls__", _itself)(function):
        plain = _unwrapped(inner)
        yield plain
        if is_of_library(getattr(plain, "__module__", None)):
            for value in inputs:
                yield from [_unwrapped(item) for item in (value if type(value) is tuple else [value]) if callable(item)]


def _itself(function: Any) -> list[Any]:
    return [function]


def _unwrapped(function: Any) -> Any:
    """The function or method behind whatever is called."""
    for _ in range(100):  # a mock has a `func` that has a `func`, without end
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if inner is None or not callable(inner):
            break
        function = inner
    if isinstance(function, type):
        return vars(function).get("__init__")
    if not isinstance(function, FunctionType | MethodType | partial):
        return getattr(type(function), "__call__", None)  # noqa: B004
    return function


def task_of(run: Run, plan: Plan, number: int, fresh: bool = False) -> ReplayedTask:
    """A task of a plan, its inputs computed again unless the run still has them and they need not be `fresh`.

    Says how many tasks that takes.
    """
    __tracebackhide__ = True
    failure = run.failure
    if failure is not None and failure.function is not None and number == run.failed_task and not fresh:
        return ReplayedTask(run, plan, number, failure.inputs, used=True)
    needed = ancestors(plan, number)
    if needed:
        print(f"Computing the inputs of {key_label(plan.keys[number])} again first: {_tasks(run, needed)}.")
    return ReplayedTask(run, plan, number, tuple(_inputs(run, plan, number, needed)))


def _tasks(run: Run, tasks: list[int]) -> str:
    count = f"{len(tasks):,} task{'s' if len(tasks) > 1 else ''}"
    took = sum(max(0.0, run.stop[task] - run.start[task]) for task in tasks)
    return count if took < WORTH_A_WORD else f"{count}, which took {duration(took)}"


_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes, range})


def _is_fixed(value: Any) -> bool:
    """Whether a value is sure to be as it was."""
    return type(value) in _FIXED or (type(value) is tuple and all(type(part) in _FIXED for part in value))


def ancestors(plan: Plan, number: int) -> list[int]:
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
        results[task] = ReplayedTask(run, plan, task, tuple(plan.inputs(task, results)))()
        for slot in plan.dependencies(task):
            uses[slot] -= 1
            if not uses[slot]:
                results[slot] = None
    return plan.inputs(number, results)
