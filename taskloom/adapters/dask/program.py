"""Several calls in one task, compiled once: what Dask fuses, nests, or calls with keywords.

Dask puts the tasks inside of a fused one in order each time it runs it. Here that is done when the plan is made, and
tasks of the same shape, as the blocks of an array's layer are, share one program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from dask._task_spec import Alias, DataNode, Dict, GraphNode, List, Set, Task, TaskRef, Tuple, _execute_subgraph
from dask._task_spec import _identity_cast as cast
from dask.utils import apply

from taskloom.graph import Key, identity

#: How a step finds an argument: 3n is the result of step n, 3n + 1 the task's input n, 3n + 2 its literal n.
Code = int
Step = tuple[Callable[..., Any], tuple[Code, ...], tuple[str, ...]]  # the function, its arguments, names of the last


class Program:
    """A callable of a task's inputs: the values that it depends on, and behind them one tuple of literal values."""

    __slots__ = ("func", "literals", "steps")

    def __init__(self, steps: Sequence[Step], inputs: int, literals: int) -> None:
        places = (inputs + literals, 0, inputs)  # where the results, the inputs and the literals begin
        last_uses: dict[int, int] = {}
        located = []
        for number, (function, codes, names) in enumerate(steps):
            args = [places[code % 3] + code // 3 for code in codes]
            last_uses.update(dict.fromkeys(args, number))
            located.append((function, args, names))
        self.literals = literals > 0
        self.steps = [
            (function, args, names, [place for place in dict.fromkeys(args) if last_uses[place] == number])
            for number, (function, args, names) in enumerate(located)
        ]
        self.func = _outer_function(steps)  # what the task is called

    def __call__(self, *inputs: Any) -> Any:
        __tracebackhide__ = True  # a debugger shows the functions inside
        values = [*inputs[:-1], *inputs[-1]] if self.literals else [*inputs]
        get_value = values.__getitem__
        for function, places, names, dead in self.steps:
            if names:
                args = list(map(get_value, places))
                keywords = dict(zip(names, args[-len(names) :], strict=True))
                del args[-len(names) :]
                values.append(function(*args, **keywords))
                del args, keywords
            else:
                values.append(function(*map(get_value, places)))
            for place in dead:
                values[place] = None
        return values[-1]

    def __taskloom_calls__(self) -> list[Callable[..., Any]]:
        """The functions that it calls."""
        return [function for function, *_ in self.steps]

    def __repr__(self) -> str:
        return f"<Program of {len(self.steps)} calls>"


def as_list(*values: Any) -> list[Any]:
    return list(values)


def as_tuple(*values: Any) -> tuple[Any, ...]:
    return values


def as_set(*values: Any) -> set[Any]:
    return set(values)


def as_dict(*values: Any) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


_BUILDERS: dict[type, Callable[..., Any]] = {List: as_list, Tuple: as_tuple, Set: as_set, Dict: as_dict}
_CASTS: dict[type, Callable[..., Any]] = {list: as_list, tuple: as_tuple, set: as_set}
_UNNAMED = (as_list, as_tuple, as_set, as_dict, identity)  # a task is not called by these if there are others
_SETTINGS = {bool, int, str, type(None)}  # equal values of the same of these types are the same
_PLAIN = {bool, int, float, str, tuple, type(None)}  # literal values, whatever they are


def _is_setting(value: Any) -> bool:
    """Whether a keyword's value is of the kind that `axis` and `keepdims` have."""
    return value.__class__ in _SETTINGS or (value.__class__ is tuple and _SETTINGS.issuperset(map(type, value)))


def _outer_function(steps: Sequence[Step]) -> Callable[..., Any]:
    """The function a person would name the task by: the last one that does more than to put results together."""
    for function, _, _ in reversed(steps):
        if not any(function is unnamed for unnamed in _UNNAMED) and getattr(function, "__name__", "") != "finalize":
            return function
    return steps[-1][0]


class Applied:
    """`dask.utils.apply` of a function that is known: a task is called by that."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, args: Iterable[Any], kwargs: Mapping[str, Any] | None = None) -> Any:
        __tracebackhide__ = True
        return self.func(*args, **(kwargs or {}))


class Held:
    """A literal value that engines must see, as they put another in its place: a future."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Assembly:
    """Takes a task apart.

    Parameters
    ----------
    shared : callables that were made before for the same functions.

    Attributes
    ----------
    inputs : the keys that the task depends on, and `Held` values, each with its number.
    literals : other literal values.
    steps : the calls.
    """

    def __init__(self, shared: dict[Any, Callable[..., Any]]) -> None:
        self._shared = shared
        self.inputs: dict[Any, int] = {}
        self.literals: list[Any] = []
        self.steps: list[Step] = []

    def signature(self) -> tuple[Any, ...]:
        """What tasks that can share a program have in common."""
        return (
            len(self.inputs),
            len(self.literals),
            *[(id(function), codes, names) for function, codes, names in self.steps],
        )

    def program(self) -> Program:
        return Program(self.steps, len(self.inputs), len(self.literals))

    def add(self, node: GraphNode) -> None:
        """The task itself, or what stands in its place."""
        code = self._find(node, None)
        if code != 3 * (len(self.steps) - 1):  # what it fuses comes down to one of its inputs
            self.steps.append((identity, (code,), ()))

    def _find(self, value: Any, scope: Mapping[Key, Code] | None) -> Code:
        """Where an argument is; keys are looked up in `scope`, or are dependencies of the task."""
        cls = value.__class__
        if cls is Task:
            return self._call(value, scope)
        if cls is TaskRef or cls is Alias or isinstance(value, TaskRef):
            key = value.target if cls is Alias else value.key
            if scope is not None:
                return scope[key]
            inputs = self.inputs
            return 3 * inputs.setdefault(key, len(inputs)) + 1
        if cls is DataNode:
            value = value.value
        elif isinstance(value, Task):
            return self._call(value, scope)
        elif isinstance(value, GraphNode):  # of somebody's own making
            needed = tuple(value.dependencies)
            return self._step(_Node(value, needed), self._find_all(map(TaskRef, needed), scope))
        if hasattr(value.__class__, "__taskloom_input__"):
            self.inputs[Held(value)] = number = len(self.inputs)
            return 3 * number + 1
        self.literals.append(value)
        return 3 * len(self.literals) - 1

    def _find_all(self, values: Iterable[Any], scope: Mapping[Key, Code] | None) -> list[Code]:
        """Where arguments are: `_find` of each, at less cost for what is common."""
        codes, literals = [], self.literals
        for value in values:
            cls = value.__class__
            if cls is TaskRef and scope is not None:
                codes.append(scope[value.key])
            elif cls in _PLAIN:
                literals.append(value)
                codes.append(3 * len(literals) - 1)
            else:
                codes.append(self._find(value, scope))
        return codes

    def _call(self, task: Task, scope: Mapping[Key, Code] | None) -> Code:
        function = task.func
        if function is _execute_subgraph:
            return self._fused(task, scope)
        args = task.args
        if function is apply and callable(args[0]) and not isinstance(args[0], GraphNode | TaskRef):
            function = self._shared.setdefault(id(args[0]), Applied(args[0]))
            args = args[1:]
        codes = self._find_all(args, scope)
        kwargs = task.kwargs
        if not kwargs and task.__class__ is Task:
            return self._step(function, codes)
        builder = _BUILDERS.get(task.__class__)
        if builder is None and function is cast:
            builder = _CASTS.get(kwargs.get("typ"))
        if builder is not None:
            return self._step(builder, codes)
        if all(map(_is_setting, kwargs.values())):
            return self._step(self._with_settings(function, kwargs), codes)
        codes += self._find_all(kwargs.values(), scope)
        return self._step(function, codes, tuple(kwargs))

    def _with_settings(self, function: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
        """A function with keywords that tasks of the same shape have in common, which are bound once for all."""
        marks = [(name, value.__class__, value) for name, value in kwargs.items()]
        types = [type(part) for value in kwargs.values() if value.__class__ is tuple for part in value]
        mark = (id(function), *marks, *types)  # types, as True equals 1
        return self._shared.setdefault(mark, partial(function, **kwargs))

    def _step(self, function: Callable[..., Any], codes: Sequence[Code], names: tuple[str, ...] = ()) -> Code:
        self.steps.append((function, tuple(codes), names))
        return 3 * len(self.steps) - 3

    def _fused(self, task: Task, scope: Mapping[Key, Code] | None) -> Code:
        """The calls inside of a fused task, each behind those it needs."""
        inner, end, names, *args = task.args
        found: dict[Key, Code] = dict(zip(names, self._find_all(args, scope), strict=False))
        todo = [end]
        while todo:
            key = todo[-1]
            if key not in found:
                node = inner[key]
                missing = [other for other in node.dependencies if other not in found]
                if missing:
                    todo += missing
                    continue
                found[key] = self._find(node, found)
            todo.pop()
        return found[end]


class _Node:
    """Calls a node of a kind that is not known, which takes its inputs by key."""

    __slots__ = ("inputs", "node")

    def __init__(self, node: GraphNode, inputs: tuple[Key, ...]) -> None:
        self.node = node
        self.inputs = inputs

    def __call__(self, *values: Any) -> Any:
        __tracebackhide__ = True
        return self.node(dict(zip(self.inputs, values, strict=True)))
