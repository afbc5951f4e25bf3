"""Shuffles in which the workers of a dask cluster send data to each other: what tasks of theirs run nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask._task_spec import Alias, GraphNode, Task, TaskRef, _execute_subgraph

from taskloom.adapters.dask.program import Assembly, Code
from taskloom.adapters.distributed.connection import is_barrier
from taskloom.graph import Key

PART = (
    "It is a part of a shuffle, which only the workers of its cluster can do, all together. Replay a task before or "
    "behind it; or compute with dask.config.set({'dataframe.shuffle.method': 'tasks', 'array.rechunk.method': "
    "'tasks'}), which makes a shuffle of tasks that run anywhere."
)


class Shuffles:
    """Those of a graph. One has tasks that send, a barrier that waits for all of these, and tasks that take what came.

    Examples
    --------
    >>> tasks = {
    ...     "send": Task("send", abs, 1),
    ...     "shuffle-barrier-0": Task("shuffle-barrier-0", abs, Alias("send")),
    ...     "take": Task("take", abs, Alias("shuffle-barrier-0")),
    ...     "inc": Task("inc", abs, Alias("take")),
    ... }
    >>> shuffles = Shuffles(tasks)
    >>> [key for key in tasks if key in shuffles]
    ['send', 'shuffle-barrier-0', 'take']
    """

    def __init__(self, tasks: Mapping[Key, GraphNode]) -> None:
        self._tasks = tasks
        self.sends: set[Key] = set()
        todo = [key for barrier in tasks if is_barrier(barrier) for key in tasks[barrier].dependencies]
        while todo:
            key = todo.pop()
            self.sends.add(key)
            if isinstance(node := tasks.get(key), Alias):
                todo.append(node.target)

    def __contains__(self, key: Key) -> bool:
        return key in self._tasks and (is_barrier(key) or key in self.sends or takes(self._tasks[key]))


def takes(node: GraphNode) -> bool:
    """Whether a task takes what a shuffle has brought."""
    return any(is_barrier(key) for key in node.dependencies)


class OwnPart(Assembly):
    """What of a task runs without the other workers: Dask fuses steps of shuffles with those before and behind them.

    Attributes
    ----------
    taken : the steps that take what a shuffle has brought, by key: here they are inputs.
    """

    def __init__(self, node: GraphNode, shuffles: Shuffles) -> None:
        """
        Raises
        ------
        ValueError
            There is nothing but a shuffle.
        """
        super().__init__({})
        self.taken: dict[Key, Task] = {}
        self._sends = shuffles.sends
        is_fused = isinstance(node, Task) and node.func is _execute_subgraph
        if node.key in shuffles and not is_fused:
            raise ValueError(PART)
        self.add(node)

    def _find(self, value: Any, scope: Mapping[Key, Code] | None) -> Code:
        if isinstance(value, TaskRef) and is_barrier(value.key):
            value = None  # only those steps take it that are inputs here
        return super()._find(value, scope)

    def _call(self, task: Task, scope: Mapping[Key, Code] | None) -> Code:
        if task.func is not _execute_subgraph:
            if takes(task):
                self.taken[task.key] = task
                return 3 * self.inputs.setdefault(task.key, len(self.inputs)) + 1
            if task.key in self._sends:
                return self._step(_cannot_send, [self._find(arg, scope) for arg in task.args])
        return super()._call(task, scope)


def _cannot_send(*_: Sequence[Any]) -> Any:
    raise ValueError(PART)
