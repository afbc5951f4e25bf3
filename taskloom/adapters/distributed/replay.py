"""A task of a dask scheduler run again here: its function, and its inputs from the cluster or computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskloom.adapters.dask.program import Assembly
from taskloom.adapters.distributed.book import SubmittedBook
from taskloom.adapters.distributed.connection import values_of
from taskloom.graph import Plan

_NOT_AT_HAND = (
    "What it was called with is not at hand: it builds on results that were on the cluster, which has them no more. "
    "Compute those again, and replay the task before anything else is computed."
)


def plan_of(client: Any, book: SubmittedBook, row: int, fresh: bool) -> Plan:
    """A plan with the tasks of a record, of which one row can be run, and what has to run first.

    Results that the cluster still has are constants of it; if they are to be `fresh`, only those that nothing in the
    record computes.

    Raises
    ------
    ValueError
        The cluster has something no more.
    """
    keys = book.run.graph.keys
    tasks: dict[Any, Any] = {}
    for submission in book.submissions:
        tasks.update(submission.graph())
    rows = {key: number for number, key in enumerate(keys)}
    needed = _needed(keys[row], tasks)
    elsewhere = [key for key in needed if key not in tasks or key not in rows]
    values = values_of(client, elsewhere if fresh else [key for key in needed if key != keys[row]])
    if not fresh:  # what only led to results that are there need not run
        needed = _needed(keys[row], tasks, values)
        elsewhere = [key for key in elsewhere if key in needed]
    if set(elsewhere) - values.keys():
        raise ValueError(_NOT_AT_HAND)
    plan = Plan(None)
    plan.keys = list(keys)
    plan.functions = [_cannot_run] * len(keys)
    plan.args = [()] * len(keys)
    slots: dict[Any, int] = {}
    for key in needed:
        if key in values and key != keys[row]:
            plan.constants.append(values[key])
            slots[key] = -len(plan.constants)
        else:
            slots[key] = rows[key]
    for number in [slot for slot in slots.values() if slot >= 0]:
        task = Assembly({})
        task.add(tasks[keys[number]])
        args = [slots[key] for key in task.inputs]
        if task.literals:
            plan.constants.append(tuple(task.literals))
            args.append(-len(plan.constants))
        plan.functions[number] = task.program()
        plan.args[number] = tuple(args)
        if max(plan.args[number], default=-1) >= number:
            raise ValueError(_NOT_AT_HAND)
    return plan


def _needed(key: Any, tasks: Mapping[Any, Any], known: Iterable[Any] = ()) -> dict[Any, None]:
    """A key and those of all that it needs; behind those known nothing is looked for."""
    found = {key: None}
    todo = [key]
    while todo:
        this = todo.pop()
        for other in tasks[this].dependencies if this in tasks and (this == key or this not in known) else ():
            if other not in found:
                found[other] = None
                todo.append(other)
    return found


def _cannot_run(*_: Any) -> Any:
    raise ValueError(_NOT_AT_HAND)


class Recall:
    """Brings the function and the inputs of a task: from the cluster what it still has, and computes the rest here.

    Parameters
    ----------
    client : leads to the one that submitted it.
    book : of its record.
    """

    def __init__(self, client: Callable[[], Any], book: SubmittedBook, row: int) -> None:
        self._client = client
        self._book = book
        self._row = row

    def __call__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        plan = plan_of(self._client(), self._book, self._row, fresh=False)
        results = plan.results()
        needed: set[int] = set()
        todo = [self._row]
        while todo:
            new = set(plan.dependencies(todo.pop())) - needed
            needed |= new
            todo += new
        for row in sorted(needed):
            results[row] = plan.functions[row](*plan.inputs(row, results))
        return plan.functions[self._row], tuple(plan.inputs(self._row, results))
