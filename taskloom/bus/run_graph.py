"""What views draw of a graph: keys, function names and dependencies, but no functions and no values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskloom.graph import Key, Plan, function_name


class RunGraph:
    """The graph of a run, numbered in run order.

    Attributes
    ----------
    keys : list of keys.
    functions : list of str, the name of each task's function.
    dependencies : list of tuples of task numbers, each dependency once.
    plan : the `Plan` itself while the run is the last one, then None.
    """

    def __init__(
        self,
        keys: list[Key],
        functions: list[str] | None = None,
        dependencies: list[tuple[int, ...]] | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.keys = keys
        self.plan = plan
        self._functions = functions
        self._dependencies = dependencies
        self._args = plan.args if plan is not None else None

    @classmethod
    def of(cls, plan: Plan) -> RunGraph:
        return cls(plan.keys, plan=plan)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<RunGraph: {len(self)} tasks>"

    @property
    def functions(self) -> list[str]:
        if self._functions is None:
            assert self.plan is not None
            self._functions = _names_of(self.plan.functions)
        return self._functions

    @property
    def dependencies(self) -> list[tuple[int, ...]]:
        if self._dependencies is None:
            self._dependencies = [
                ((args,) if args >= 0 else ())
                if isinstance(args, int)
                else tuple(dict.fromkeys(s for s in args if s >= 0))
                for args in self._args or ()
            ]
        return self._dependencies

    def release_plan(self) -> None:
        """Let go of functions and constants; names and dependencies stay."""
        if self.plan is not None:
            self._functions = self.functions
            self.plan = None

    def select(self, numbers: Sequence[int]) -> RunGraph:
        """The graph of only these tasks, numbered anew."""
        rank = {number: position for position, number in enumerate(numbers)}
        functions, dependencies = self.functions, self.dependencies
        return RunGraph(
            [self.keys[number] for number in numbers],
            [functions[number] for number in numbers],
            [tuple([rank[d] for d in dependencies[number] if d in rank]) for number in numbers],
        )


def _names_of(functions: list[Callable[..., Any]]) -> list[str]:
    try:
        names = {function: function_name(function) for function in set(functions)}
        return list(map(names.__getitem__, functions))
    except TypeError:  # a callable that cannot be hashed
        return list(map(function_name, functions))
