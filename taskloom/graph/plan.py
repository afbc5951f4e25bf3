"""The plan: a graph turned into integers, once, in the order in which it should run.

Tasks are numbered by that order. An argument is a *slot*: a number >= 0 is the result of that task, a negative
one a constant, counted from the end of the list of results (which is why `Plan.results()` ends with them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskloom.errors import GraphError, MissingDependencyError, UnknownKeyError
from taskloom.graph.annotations import Annotated, Annotations, annotated_graph, annotations_of
from taskloom.graph.ordering import Link, dependents_of, run_order
from taskloom.graph.recipe import Recipe, flatten
from taskloom.graph.task import Graph, Key, Task, identity, nearest_keys
from taskloom.graph.task_graph import cycle_error

# Arguments of these types that are no key are constants without a closer look.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})


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
    dsk : mapping from keys to values, keys, tasks ``(callable, *args)``, or lists of those, nested.
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
    if dsk.__class__ is not dict:
        dsk = annotated_graph(checked_graph(dsk))
    plan = Plan(keys)
    index = dict(zip(dsk, range(len(dsk)), strict=True))
    wanted = _find_requested(keys, index)
    reader = _Reader(index, plan.constants)
    reader.read_all(dsk.values())
    links = reader.links
    if reader.joins and reader.in_order:
        order: Sequence[int] = range(len(links))
    else:
        order = _depth_first(dsk, links, wanted)
    if reader.joins:
        order = run_order(order, links, len(plan.constants), wanted)
    _number(plan, order, links, reader.functions, dsk, wanted)
    return plan


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


def _depth_first(dsk: Graph, links: list[Any], wanted: list[int]) -> list[int]:
    """The nodes that `wanted` need, each behind those it needs itself."""
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
                        raise cycle_error(dsk, list(dsk)[node])
                    if not waits:
                        push(node)
                        waits = True
                    push(child)
            if waits:
                continue
        done[node] = 1
        emit(node)
    return order


def _number(
    plan: Plan, order: Sequence[int], links: list[Any], functions: list[Any], dsk: Graph, wanted: list[int]
) -> None:
    """Fill the plan: tasks get their place in `order` as number, data the slots of constants."""
    names = list(dsk)
    slots = [0] * len(names)
    tasks = order
    if None in map(functions.__getitem__, order):
        tasks = [node for node in order if functions[node] is not None]
        for node in order:
            if functions[node] is None:
                plan.constants.append(dsk[names[node]])
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
    if not {Annotated, Recipe}.isdisjoint(map(type, plan.functions)):
        _take_out_annotations(plan)


def _take_out_annotations(plan: Plan) -> None:
    """Keep annotations beside the functions, so that whoever calls those finds what the user wrote."""
    for task, function in enumerate(plan.functions):
        if found := annotations_of(function):
            plan.annotations[task] = found
            if function.__class__ is Annotated:
                plan.functions[task] = function.func


class _Reader:
    """Reads the values of a graph.

    A link is a node, which is the position of a key in the graph, or, negative, the slot of a constant.
    """

    def __init__(self, index: dict[Key, int], constants: list[Any]) -> None:
        self.index = index
        self.constants = constants
        self.functions: list[Any] = []  # per node; None for data
        self.links: list[Any] = []  # per node those of its arguments: an int if there is one argument, else a tuple
        self.joins = False  # whether any task has several arguments
        self.in_order = True  # whether every node stands behind those it needs
        self.families: set[tuple[Any, int]] | None = None

    def read_all(self, values: Iterable[Any]) -> None:
        find, constants = self.index.get, self.constants
        add_function, add_link = self.functions.append, self.links.append
        joins, in_order = False, True
        for node, value in enumerate(values):
            link: Any = None
            cls = value.__class__
            if (cls is tuple or cls is Task) and value and callable(value[0]):
                function = value[0]
                try:
                    if len(value) == 2:
                        link = find(value[1])
                        if link is None and value[1].__class__ in _PLAIN:
                            constants.append(value[1])
                            link = -len(constants)
                    else:
                        link = tuple(map(find, value[1:]))
                        if None in link:
                            link = None
                except TypeError:  # an argument that cannot be hashed: a list, a dict, an array ...
                    pass
            if link is None:
                function, link = self.read(value)
            add_function(function)
            add_link(link)
            if link.__class__ is int:
                if link >= node:
                    in_order = False
            elif link:
                joins = True
                if in_order and max(link) >= node:
                    in_order = False
        self.joins, self.in_order = joins, in_order

    def read(self, value: Any) -> tuple[Callable[..., Any] | None, Link]:
        """The function and links of a value; no function for plain data."""
        cls = value.__class__
        if (cls is tuple or cls is Task) and value and callable(value[0]):
            if any(self.is_nested(arg) for arg in value[1:]):
                return self.nested(value)
            links = tuple([self.link(arg) for arg in value[1:]])
            return value[0], links[0] if len(links) == 1 else links
        if self.is_nested(value):
            return self.nested(value)
        node = self.find(value)
        return (None, ()) if node is None else (identity, node)

    def nested(self, value: Any) -> tuple[Callable[..., Any], Link]:
        recipe, leaves = flatten(value)
        links = tuple([self.link(leaf) for leaf in leaves])
        return recipe, links[0] if len(links) == 1 else links

    def is_nested(self, value: Any) -> bool:
        """Whether a value must be put together at run time: a task, or a list with a key or task in it."""
        if value.__class__ is list:
            recipe, leaves = flatten(value)
            return any(step and step[0] for step in recipe.program) or any(self.find(x) is not None for x in leaves)
        return value.__class__ is tuple and bool(value) and callable(value[0])

    def link(self, leaf: Any) -> int:
        """The node of a key, or the slot of a new constant."""
        node = self.find(leaf)
        if node is None:
            self.constants.append(leaf)
            return -len(self.constants)
        return node

    def find(self, leaf: Any) -> int | None:
        try:
            node = self.index.get(leaf)
        except TypeError:  # cannot be hashed, so it is no key
            return None
        if node is None and leaf.__class__ is tuple and self.is_missing_chunk(leaf):
            raise MissingDependencyError(
                f"A task refers to {leaf!r}, which is not in the graph, although other chunks of {leaf[0]!r} are. "
                f"Add it to the graph, or write (tuple, {list(leaf)!r}) where the tuple is meant as a value."
            )
        return node

    def is_missing_chunk(self, leaf: tuple[Any, ...]) -> bool:
        """Whether a tuple that is no key looks like one: the same name and length, and numbers behind it."""
        if len(leaf) < 2 or leaf[0].__class__ is not str or any(part.__class__ is not int for part in leaf[1:]):
            return False
        if self.families is None:
            self.families = {(key[0], len(key)) for key in self.index if isinstance(key, tuple) and key}
        return (leaf[0], len(leaf)) in self.families


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
