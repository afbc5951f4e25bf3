"""A task of a dask scheduler run again here: its function, and its inputs from the cluster or computed again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from taskloom.adapters.dask.program import Assembly
from taskloom.adapters.distributed.book import ClusterRun
from taskloom.adapters.distributed.connection import (
    can_wait,
    compute_aside,
    held_by,
    is_barrier,
    is_open,
    task_there,
    values_of,
)
from taskloom.adapters.distributed.shuffles import OwnPart, Shuffles
from taskloom.graph import Key, Plan

_NOT_AT_HAND = (
    "What it was called with is not at hand: it builds on results that were on the cluster, which has them no more. "
    "Compute those again, and replay the task before anything else is computed."
)
_FORGOTTEN = (
    "What it was called with is not at hand: it is kept here only until another run begins, and on the cluster only "
    "as long as there is a future of the task, or of what needs it. Run its cell again, and keep what it gives, such "
    "as  z = x.persist() ; or replay the task before anything else is computed."
)
_SHUFFLED = "What it was called with comes from a shuffle, which only the workers of its cluster can do, "
_ON_CLUSTER = "What it was called with is on its cluster, "
_CLOSED = (
    "and the client that submitted it is not connected any more. Compute it again, and replay the task while the "
    "client is open."
)
_IN_THREAD_OF_CLIENT = (
    "and its client works in this thread, which cannot wait for itself. Replay it in another thread, or compute it "
    "with a client that is not asynchronous."
)


def plan_of(client: Any, run: ClusterRun, row: int, fresh: bool) -> Plan:
    """A plan with the tasks of a record, of which one row can be run, and what has to run first.

    Results that the cluster still has are constants of it; if they are to be `fresh`, only those that nothing in the
    record computes. What comes from a shuffle of the cluster's workers is computed there again, and so is what a task
    needs that was submitted before the record began, or is not kept with the record any more: the cluster has it as
    long as there is a future of the task.

    Raises
    ------
    ValueError
        The cluster has something no more, or cannot be reached.
    """
    keys = run.graph.keys
    rows = {key: number for number, key in enumerate(keys)}
    tasks: dict[Key, Any] = {}
    for submission in run.submissions:
        tasks.update(submission.graph())
    is_elsewhere = keys[row] not in tasks
    if is_elsewhere:
        tasks[keys[row]] = _told(client, keys[row])
    shuffles = Shuffles(tasks)
    own = OwnPart(tasks[keys[row]], shuffles)
    tasks |= own.taken
    needed = _needed(own.inputs, tasks)
    elsewhere = {key for key in needed if key not in tasks or (key not in rows and key not in own.taken)}
    held = held_by(client, elsewhere if fresh else needed)
    values = values_of(client, held.intersection(_needed(own.inputs, tasks, held)))
    needed = _needed(own.inputs, tasks, values)  # what only led to results that are there need not run
    missing = [key for key in needed if key not in values]
    shuffled = bool(own.taken) or any(key in shuffles for key in missing)
    if not is_elsewhere and any(key not in tasks if shuffled else key in elsewhere for key in missing):
        raise ValueError(_NOT_AT_HAND)
    plan = _Sketch(keys, rows, values)
    if shuffled or is_elsewhere:
        where = _SHUFFLED if shuffled else _ON_CLUSTER
        _check_connection(client, where)
        again = ComputedAgain(client, run, tasks, [key for key in own.inputs if key not in values], where)
        plan.leave(again, {key: tasks[key].dependencies if key in tasks else () for key in missing})
    else:
        for key in missing:
            plan.run(rows[key], OwnPart(tasks[key], shuffles))
    plan.run(row, own)
    return plan.plan


class _Sketch:
    """A plan in the making, none of whose tasks can be run so far.

    Parameters
    ----------
    keys, rows : of its tasks, and the number of each.
    values : by key, those that are constants.
    """

    def __init__(self, keys: Iterable[Key], rows: Mapping[Key, int], values: Mapping[Key, Any]) -> None:
        self.plan = plan = Plan(None)
        plan.keys = list(keys)
        plan.functions = [_cannot_run] * len(plan)
        plan.args = [()] * len(plan)
        plan.constants.extend(values.values())
        self._slots = {**rows, **{key: -1 - number for number, key in enumerate(values)}}

    def run(self, row: int, task: Assembly) -> None:
        """Have a row run a task."""
        plan = self.plan
        args = [self._slots[key] for key in task.inputs]
        if task.literals:
            plan.constants.append(tuple(task.literals))
            args.append(-len(plan.constants))
        plan.functions[row] = task.program()
        plan.args[row] = tuple(args)
        if max(args, default=-1) >= row:
            raise ValueError(_NOT_AT_HAND)

    def leave(self, again: ComputedAgain, tasks: Mapping[Key, Collection[Key]]) -> None:
        """Have rows that are inputs bring what the cluster computes, and those that these need do nothing here.

        `tasks` are all of these with what they need.
        """
        plan, slots = self.plan, self._slots
        for key, inputs in tasks.items():
            row = slots.get(key, -1)
            if row >= 0:
                plan.functions[row] = _is_done_there
                plan.args[row] = tuple([slot for other in inputs if 0 <= (slot := slots.get(other, -1)) < row])
        for key in again.keys:
            row = slots.get(key, -1)
            if row < 0:  # a step that was fused with the task: its barrier stands for it
                row = next((slots[other] for other in tasks[key] if is_barrier(other) and other in slots), -1)
            if row >= 0 and plan.functions[row] is _is_done_there:
                plan.functions[row] = partial(again.bring, key)
                slots[key] = row
            else:  # it was there when the task was submitted, and is no task of its record
                plan.constants.append(again.bring(key))
                slots[key] = -len(plan.constants)


class ComputedAgain:
    """Inputs of a task that its cluster computes again, all of them as soon as one is asked for.

    Parameters
    ----------
    run : the record of the task. As long as that has its inputs, the cluster keeps these.
    tasks : what may have to run, but for what the scheduler has anyway.
    where : a sentence's beginning, about them.
    """

    def __init__(
        self, client: Any, run: ClusterRun, tasks: Mapping[Key, Any], keys: Collection[Key], where: str
    ) -> None:
        self.keys = keys
        self._client = client
        self._run = run
        self._tasks = tasks
        self._where = where
        self._values: dict[Key, Any] | None = None

    def bring(self, key: Key, *_: Any) -> Any:
        if self._values is None:
            _check_connection(self._client, self._where)
            graph = {key: self._tasks[key] for key in _needed(self.keys, self._tasks) if key in self._tasks}
            try:
                self._values, futures = compute_aside(self._client, graph, self.keys)
            except Exception as error:
                raise ValueError(f"{self._where}and could not be computed there again: {_brief(error)}") from error
            if self._run.keeps_inputs:
                self._run.kept[:] = futures
        return self._values[key]


def _check_connection(client: Any, where: str) -> None:
    if not is_open(client):
        raise ValueError(where + _CLOSED)
    if not can_wait(client):
        raise ValueError(where + _IN_THREAD_OF_CLIENT)


def _told(client: Any, key: Key) -> Any:
    """A task, from the scheduler."""
    _check_connection(client, _ON_CLUSTER)
    try:
        task = task_there(client, key)
    except Exception as error:
        raise ValueError(f"{_ON_CLUSTER}and could not be brought: {_brief(error)}") from error
    if task is None:
        raise ValueError(_FORGOTTEN)
    return task


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _needed(keys: Iterable[Key], tasks: Mapping[Key, Any], known: Collection[Key] = ()) -> dict[Key, None]:
    """Keys and those of all that they need; behind those known nothing is looked for."""
    found = dict.fromkeys(keys)
    todo = list(found)
    while todo:
        this = todo.pop()
        for other in tasks[this].dependencies if this in tasks and this not in known else ():
            if other not in found:
                found[other] = None
                todo.append(other)
    return found


def _cannot_run(*_: Any) -> Any:
    raise ValueError(_NOT_AT_HAND)


def _is_done_there(*_: Any) -> None:
    pass


class Recall:
    """Brings the function and the inputs of a task: from the cluster what it still has, and computes the rest here.

    Parameters
    ----------
    client : leads to the one that submitted it.
    run : its record.
    """

    def __init__(self, client: Callable[[], Any], run: ClusterRun, key: Key) -> None:
        self._client = client
        self._run = run
        self._key = key

    def __call__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        keys = self._run.graph.keys
        if self._key not in keys:  # the record has grown old, and has lost rows
            raise ValueError(_FORGOTTEN)
        number = keys.index(self._key)
        plan = plan_of(self._client(), self._run, number, fresh=False)
        results = plan.results()
        needed: set[int] = set()
        todo = [number]
        while todo:
            new = set(plan.dependencies(todo.pop())) - needed
            needed |= new
            todo += new
        for row in sorted(needed):
            results[row] = plan.functions[row](*plan.inputs(row, results))
        return plan.functions[number], tuple(plan.inputs(number, results))
