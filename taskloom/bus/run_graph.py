"""What views draw of a graph: keys, function names and dependencies, but no functions and no values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sys import getsizeof
from typing import Any

from taskloom.bus.graph_layers import Layers, read_layers
from taskloom.graph import Key, Plan, function_name

TYPICAL = 220  # bytes of a row: times, worker, place in the order, and a short key with one or two inputs
FIXED = 60  # bytes of it that do not depend on the key and the inputs
SAMPLE = 100


class RunGraph:
    """The graph of a run, numbered in run order.

    Attributes
    ----------
    keys : list of keys.
    functions : list of str, the name of each task's function.
    dependencies : list of tuples of task numbers, each dependency once.
    plan : the `Plan` itself while the run is the last one, then None.
    layers : `Layers`, what is known of the tasks beyond their keys: of a run's tasks, what is known when it is drawn.
    """

    def __init__(
        self,
        keys: list[Key],
        functions: list[str] | None = None,
        dependencies: list[tuple[int, ...]] | None = None,
        plan: Plan | None = None,
        layers: Layers | None = None,
    ) -> None:
        self.keys = keys
        self.plan = plan
        self._functions = functions
        self._dependencies = dependencies
        self._args = plan.args if plan is not None else None
        self._layers = layers
        self._layers_size = len(keys)  # for how many keys they were looked for

    @classmethod
    def of(cls, plan: Plan) -> RunGraph:
        return cls(plan.keys, plan=plan)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<RunGraph: {len(self):,} tasks>"

    def _repr_html_(self) -> str:
        from taskloom.bus.run import presenters

        return str(presenters["graph_card"](self))

    def extend(self, keys: Sequence[Key], functions: Sequence[str], dependencies: Iterable[tuple[int, ...]]) -> None:
        """Add tasks to a graph that was made of lists; keys last, for they are what is counted."""
        self.dependencies.extend(dependencies)
        self.functions.extend(functions)
        self.keys.extend(keys)

    def append(self, key: Key, function: str) -> None:
        """Add a task without dependencies, as `extend` would."""
        self.dependencies.append(())
        self.functions.append(function)
        self.keys.append(key)

    def cut(self, size: int) -> None:
        """Take away all tasks from a number on."""
        del self.keys[size:], self.functions[size:], self.dependencies[size:]

    @property
    def functions(self) -> list[str]:
        plan = self.plan  # which another thread may let go of, once the names are there
        if self._functions is None:
            assert plan is not None
            self._functions = _names_of(plan.functions)
        return self._functions

    @property
    def dependencies(self) -> list[tuple[int, ...]]:
        if self._dependencies is None:
            self._dependencies = [_inputs_of(args) for args in self._args or ()]
        return self._dependencies

    @property
    def layers(self) -> Layers:
        size = len(self.keys)
        if self._layers is None or self._layers_size < size:  # it has grown
            self._layers, self._layers_size = read_layers(self.keys[:size]), size
        return self._layers

    def inputs(self, task: int) -> tuple[int, ...]:
        """The tasks whose results one task takes, each once: cheap however large the graph is."""
        if self._dependencies is None and self._args is not None:
            return _inputs_of(self._args[task])
        return self.dependencies[task]

    def function(self, task: int) -> str:
        """The name of one task's function: cheap however large the graph is."""
        plan = self.plan  # which another thread may let go of
        if self._functions is None and plan is not None:
            return function_name(plan.functions[task])
        return self.functions[task]

    def release_plan(self) -> None:
        """Let go of functions and constants; names and dependencies stay."""
        if self.plan is not None:
            self._functions = self.functions
            self.plan = None

    def row_weight(self) -> float:
        """How many typical rows of 220 bytes one of this graph's takes, by a sample; at least 1."""
        sample = range(0, len(self), len(self) // SAMPLE + 1)
        edges = [self._dependencies[task] if self._dependencies else self._args[task] for task in sample]  # type: ignore[index]
        sizes = [_size(self.keys[task]) for task in sample] + [_size(edge) for edge in edges]
        return max(1.0, (FIXED + sum(sizes) / max(1, len(sample))) / TYPICAL)

    def select(self, numbers: Sequence[int]) -> RunGraph:
        """The graph of only these tasks, numbered anew."""
        rank = {number: position for position, number in enumerate(numbers)}
        functions, dependencies = self.functions, self.dependencies
        return RunGraph(
            [self.keys[number] for number in numbers],
            [functions[number] for number in numbers],
            [tuple([rank[d] for d in dependencies[number] if d in rank]) for number in numbers],
            layers=self._layers,
        )


def _inputs_of(args: int | Sequence[int]) -> tuple[int, ...]:
    """The tasks among the numbers of a task's arguments, each once; negative numbers are constants."""
    if isinstance(args, int):
        return (args,) if args >= 0 else ()
    return tuple(dict.fromkeys([source for source in args if source >= 0]))


def _size(value: Any) -> int:
    """Bytes of a key or of a tuple of numbers, with what is inside of it."""
    parts = value if isinstance(value, tuple) else ()
    return getsizeof(value) + sum([_size(part) for part in parts if not isinstance(part, int)])


def _names_of(functions: list[Callable[..., Any]]) -> list[str]:
    try:
        names = {function: function_name(function) for function in set(functions)}
        return list(map(names.__getitem__, functions))
    except TypeError:  # a callable that cannot be hashed
        return list(map(function_name, functions))
