"""The plan: a graph turned into integers, once, in the order in which it should run.

Tasks are numbered by that order. An argument is a *slot*: a number >= 0 is the result of that task, a negative
one a constant, counted from the end of the list of results (which is why `Plan.results()` ends with them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from taskloom.errors import GraphError, UnknownKeyError
from taskloom.graph.annotations import Annotated, Annotations, annotated_graph, annotations_of
from taskloom.graph.foreign import foreign_graphs
from taskloom.graph.ordering import dependents_of, run_order
from taskloom.graph.reading import Reader, TupleReader
from taskloom.graph.recipe import Recipe
from taskloom.graph.task import Graph, Key, nearest_keys
from taskloom.graph.task_graph import cycle_error


class Plan:
    """A compiled graph: what every engine runs.

    Attributes
    ----------
    keys : list of the tasks' keys, in run order; task `i` has the key `keys[i]`.
    functions : list of callables; task `i` computes `functions[i](*arguments)`.
    args : list of slots; an `int` for a task with one argument, else a tuple of them.
    constants : list of literal values; slot -1 is the first of them and the last of `results()`.
    data : mapping of the keys whose value is plain data to their slots.
    requested : list of the slots of the requested keys, flattened from left to right.
    annotations : how tasks should be run, for those that were annotated.
    """

    __slots__ = ("_dependents", "_wanted", "annotations", "args", "constants", "data", "functions", "keys", "requested")

    def __init__(self, wanted: Any) -> None:
        self.keys: list[Key] = []
        self.functions: list[Callable[..., Any]] = []
        self.args: list[Any] = []
        self.constants: list[Any] = []
        self.data: dict[Key, int] = {}
        self.requested: list[int] = []
        self.annotations: dict[int, Annotations] = {}
        self._wanted = wanted
        self._dependents: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<Plan: {len(self)} tasks, {len(self.requested)} requested>"

    @property
    def dependents(self) -> list[Any]:
        """Per task the tasks that take its result: `None`, one number, or a list with an entry per use."""
        if self._dependents is None:
            self._dependents = dependents_of(range(len(self.args)), self.args)
        return self._dependents

    def dependencies(self, task: int) -> tuple[int, ...]:
        """The tasks whose results `task` takes, each once, in the order of its arguments."""
        return tuple(dict.fromkeys([slot for slot in self.slots(task) if slot >= 0]))

    def slots(self, task: int) -> tuple[int, ...]:
        """The slots of a task's arguments."""
        args = self.args[task]
        return (args,) if isinstance(args, int) else args

    def inputs(self, task: int, results: list[Any]) -> list[Any]:
        """The values of a task's arguments, given the list of results."""
        return [results[slot] for slot in self.slots(task)]

    def results(self) -> list[Any]:
        """A fresh list of results: one place per task, then the constants."""
        return [None] * len(self.keys) + self.constants[::-1]

    def answer(self, results: list[Any]) -> Any:
        """The requested results, nested as they were asked for."""
        values = [results[slot] for slot in self.requested]
        if self._wanted.__class__ is not list:
            return values[0]
        if list not in map(type, self._wanted):
            return values
        return _nest(self._wanted, iter(values))


def compile_plan(dsk: Graph, keys: Any) -> Plan:
    """Compile what `keys` need of the graph `dsk`.

    Parameters
    ----------
    dsk : mapping from keys to values, keys, tasks ``(callable, *args)``, or lists of those, nested. A mapping of
        something else says by its ``__taskloom_reader__``, a `Reader`, how it is read.
    keys : one key, or a list of keys, nested.

    Raises
    ------
    UnknownKeyError
        A requested key is not in the graph.
    CycleError, MissingDependencyError
        Tasks that wait for each other, or for a key that is not there.
    GraphError
        A requested key cannot be hashed, or the graph is no mapping.

    Examples
    --------
    >>> plan = compile_plan({"a": 1, "b": (abs, "a"), "c": (max, "b", 0)}, "c")
    >>> plan.keys, plan.args, plan.constants
    (['b', 'c'], [-2, (0, -1)], [0, 1])
    """
    reader_of: type[Reader] = getattr(dsk, "__taskloom_reader__", TupleReader)
    if dsk.__class__ is not dict and reader_of is TupleReader:
        dsk = annotated_graph(checked_graph(dsk))
    reader = reader_of(dsk)
    wanted = _find_requested(keys, reader.index)
    reader.read_all()
    if reader_of is TupleReader and None in reader.functions and (made := _maker_of(reader)) is not None:
        return compile_plan(made(dsk), keys)
    links = reader.links
    if reader.joins and reader.in_order:
        order: Sequence[int] = range(len(links))
    else:
        order = _depth_first(reader, wanted)
    if reader.joins:
        order = run_order(order, links, len(reader.constants), wanted)
    plan = Plan(keys)
    _number(plan, order, reader, wanted)
    return plan


def _maker_of(reader: Reader) -> Callable[[Graph], Graph] | None:
    """What makes a graph of one whose values are another library's tasks; None where they are data."""
    data = [value for value, function in zip(reader.dsk.values(), reader.functions, strict=True) if function is None]
    makers = [foreign_graphs.get(kind.__module__) for kind in set(map(type, data))]
    return next((maker for maker in makers if maker is not None), None)


def checked_graph(dsk: Any) -> Graph:
    """The graph, if it is one.

    Raises
    ------
    GraphError
        It is no mapping.
    """
    if not isinstance(dsk, Mapping):
        raise GraphError(f"A graph is a mapping from keys to tasks or values, not of type {type(dsk).__name__!r}.")
    return dsk


def _depth_first(reader: Reader, wanted: list[int]) -> list[int]:
    """The nodes that `wanted` need, each behind those it needs itself."""
    links = reader.links
    begun, done = bytearray(len(links)), bytearray(len(links))
    order: list[int] = []
    todo = wanted[::-1]
    pop, push, emit = todo.pop, todo.append, order.append
    while todo:
        node = pop()
        if done[node]:
            continue
        if not begun[node]:
            begun[node] = 1
            link = links[node]
            waits = False
            for child in (link,) if link.__class__ is int else link:
                if child >= 0 and not done[child]:
                    if begun[child]:  # it waits for us already
                        raise cycle_error(reader.outline(), list(reader.dsk)[node])
                    if not waits:
                        push(node)
                        waits = True
                    push(child)
            if waits:
                continue
        done[node] = 1
        emit(node)
    return order


def _number(plan: Plan, order: Sequence[int], reader: Reader, wanted: list[int]) -> None:
    """Fill the plan: tasks get their place in `order` as number, data the slots of constants."""
    names, functions, links = list(reader.dsk), reader.functions, reader.links
    plan.constants = reader.constants
    slots = [0] * len(names)
    tasks = order
    if None in map(functions.__getitem__, order):
        tasks = [node for node in order if functions[node] is not None]
        for node in order:
            if functions[node] is None:
                plan.constants.append(reader.data(names[node]))
                slots[node] = plan.data[names[node]] = -len(plan.constants)
    for number, node in enumerate(tasks):
        slots[node] = number
    slots += range(-len(plan.constants), 0)  # a constant is its own slot
    plan.keys = [names[node] for node in tasks]
    plan.functions = [functions[node] for node in tasks]
    slot_of = slots.__getitem__
    plan.args = [
        slots[link] if link.__class__ is int else tuple(map(slot_of, link)) for link in [links[node] for node in tasks]
    ]
    plan.requested = [slots[node] for node in wanted]
    for node, found in reader.annotations.items():
        if functions[node] is not None and slots[node] < len(tasks) and tasks[slots[node]] == node:
            plan.annotations[slots[node]] = found
    if not {Annotated, Recipe}.isdisjoint(map(type, plan.functions)):
        _take_out_annotations(plan)


def _take_out_annotations(plan: Plan) -> None:
    """Keep annotations beside the functions, so that whoever calls those finds what the user wrote."""
    for task, function in enumerate(plan.functions):
        if found := annotations_of(function):
            plan.annotations[task] = found
            if function.__class__ is Annotated:
                plan.functions[task] = function.func


def _find_requested(keys: Any, index: dict[Key, int]) -> list[int]:
    """The nodes of the requested keys, flattened from left to right."""
    if keys.__class__ is list:
        try:
            return list(map(index.__getitem__, keys))
        except (KeyError, TypeError):  # nested, or wrong
            pass
    found = []
    todo = [keys]
    while todo:
        key = todo.pop()
        if key.__class__ is list:
            todo += key[::-1]
            continue
        try:
            found.append(index[key])
        except KeyError:
            near = nearest_keys(key, index)
            hint = f" The nearest is {near[0]!r}." if near else ""
            raise UnknownKeyError(f"The requested key {key!r} is not in the graph.{hint}") from None
        except TypeError:
            raise GraphError(
                f"The requested key {key!r} cannot be hashed: keys are str, bytes, int, float or tuples of those."
            ) from None
    return found


def _nest(wanted: list[Any], values: Iterator[Any]) -> list[Any]:
    """The values in lists nested as `wanted` is."""
    answer: list[Any] = []
    todo = [(iter(wanted), answer)]
    while todo:
        items, nested = todo[-1]
        for item in items:
            if item.__class__ is list:
                nested.append([])
                todo.append((iter(item), nested[-1]))
                break
            nested.append(next(values))
        else:
            todo.pop()
    return answer


def order(dsk: Graph) -> dict[Key, int]:
    """The position at which each key's value is there when one worker runs the whole graph: data first.

    >>> order({"c": (max, "a", "b"), "b": (abs, -1), "a": 1})
    {'a': 0, 'b': 1, 'c': 2}
    """
    plan = compile_plan(dsk, list(dsk))
    return {key: position for position, key in enumerate([*plan.data, *plan.keys])}
