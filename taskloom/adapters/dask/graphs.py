"""Dask's graphs, read as they are: task objects become functions and links of a plan, without objects between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    List,
    Task,
    TaskRef,
    _execute_subgraph,
    convert_legacy_graph,
    convert_legacy_task,
)
from dask._task_spec import _identity_cast as cast
from dask.utils import apply

from taskloom.adapters.dask.program import Assembly, Held, Program, as_list
from taskloom.errors import MissingDependencyError
from taskloom.graph import Annotations, Graph, Key, Reader, annotated, identity, nearest_keys
from taskloom.graph.annotations import NONE

_LIST = {"typ": list}

#: What a program takes: a key that the task depends on, without a link, or anything and the link of a value.
Inputs = list[tuple[Any, int | None]]


class DaskReader(Reader):
    """Reads graphs of Dask's task objects, and of tuples among them."""

    dsk: Mapping[Key, Any]

    def __init__(self, dsk: DaskGraph) -> None:
        super().__init__(dsk)
        self.annotations = {
            self.index[key]: annotations for key, annotations in dsk.annotations.items() if key in self.index
        }
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._shared: dict[Any, Callable[..., Any]] = {}
        self._of_lists: dict[tuple[int, int], Program] = {}
        self._insides: dict[Any, tuple[Program, Inputs] | None] = {}
        if not dsk.shows_aliases:
            self._follow_aliases()

    def _follow_aliases(self) -> None:
        """Have keys that stand for other keys mean those: they need no task."""
        index = self.index
        for key, end in ends_of_aliases(self.dsk).items():
            index[key] = index[end]

    def read_all(self) -> None:
        index, constants = self.index, self.constants
        add_function, add_link = self.functions.append, self.links.append
        for key, value in self.dsk.items():
            function: Any = None
            link: Any = ()
            if not isinstance(value, GraphNode):
                value = self._converted(key)
            cls = value.__class__
            try:
                if cls is Task and not value.kwargs and value.func is not _execute_subgraph and value.func is not apply:
                    links = []
                    for arg in value.args:
                        if arg.__class__ is TaskRef:
                            links.append(index[arg.key])
                        elif isinstance(arg, GraphNode | TaskRef):
                            function, link = self._of_list(value) or self._program(value)
                            break
                        else:
                            constants.append(arg)
                            links.append(-len(constants))
                    else:
                        function, link = value.func, tuple(links)
                elif cls is Alias:
                    function, link = identity, index[value.target]
                elif cls is Task and value.func is _execute_subgraph:
                    function, link = self._fused(value)
                elif isinstance(value, GraphNode) and cls is not DataNode:
                    function, link = self._program(value)
            except KeyError:
                self._take_in_futures(key, value)
                function, link = self._program(value)
            if link.__class__ is tuple and len(link) == 1:
                link = link[0]
            add_function(function)
            add_link(link)
        self.look_at_links()

    def _program(self, node: GraphNode) -> tuple[Program, tuple[int, ...]]:
        """A node as a program, and the links of its inputs."""
        program, inputs = self._taken_apart(node)
        return program, tuple([self.index[needed] if link is None else link for needed, link in inputs])

    def _of_list(self, task: Task) -> tuple[Program, tuple[int, ...]] | None:
        """A function of a list of keys, as steps of reductions are, as a program; None for other tasks."""
        made = task.args[0]
        is_list = made.__class__ is List or (made.__class__ is Task and made.func is cast and made.kwargs == _LIST)
        if len(task.args) > 1 or not is_list:
            return None
        links = []
        for arg in made.args:
            if arg.__class__ is not TaskRef:
                return None
            links.append(self.index[arg.key])
        mark = id(task.func), len(links)
        program = self._of_lists.get(mark)
        if program is None:
            steps = [(as_list, tuple(range(1, 3 * len(links), 3)), ()), (task.func, (0,), ())]
            program = self._of_lists[mark] = Program(steps, len(links), 0)
        return program, tuple(links)

    def _fused(self, task: Task) -> tuple[Program, tuple[int, ...]]:
        """A task that fuses others, as a program; the blocks of a layer have the same inside, which is read once."""
        inside, end, names, *args = task.args
        mark = id(inside), id(names), end
        if mark not in self._insides:
            self._insides[mark] = None  # most are the only one
            return self._program(task)
        known = self._insides[mark]
        if known is None:
            pattern = Task(None, _execute_subgraph, inside, end, names, *map(TaskRef, range(len(names))))
            known = self._insides[mark] = self._taken_apart(pattern)
        program, inputs = known
        links = []
        for place, link in inputs:
            if link is not None:
                links.append(link)
                continue
            arg = args[place]
            if arg.__class__ is TaskRef:
                links.append(self.index[arg.key])
            elif arg.__class__ is DataNode:
                links.append(self._constant(arg.value))
            else:
                return self._program(task)
        return program, tuple(links)

    def _taken_apart(self, node: GraphNode) -> tuple[Program, Inputs]:
        """A node as a program, and its inputs."""
        assembly = Assembly(self._shared)
        assembly.add(node)
        signature = assembly.signature()
        program = self._programs.get(signature)
        if program is None:
            program = self._programs[signature] = assembly.program()
        inputs: Inputs = [
            (needed, self._constant(needed.value) if needed.__class__ is Held else None) for needed in assembly.inputs
        ]
        if assembly.literals:
            inputs.append((None, self._constant(tuple(assembly.literals))))
        return program, inputs

    def _constant(self, value: Any) -> int:
        self.constants.append(value)
        return -len(self.constants)

    def _take_in_futures(self, key: Key, node: GraphNode) -> None:
        """Have a node find what is not in the graph: Dask leaves of futures of its clients no more than their keys."""
        for missing in [other for other in node.dependencies if other not in self.index]:
            future = future_of(missing)
            if future is None:
                near = nearest_keys(missing, self.index)
                hint = f" The nearest is {near[0]!r}." if near else ""
                raise MissingDependencyError(
                    f"Missing dependency: the task {key!r} needs {missing!r}, {_NOWHERE}{hint}"
                ) from None
            self.index[missing] = self._constant(future)

    def data(self, key: Key) -> Any:
        value = self._converted(key)
        return value.value if value.__class__ is DataNode else value

    def _converted(self, key: Key) -> Any:
        """The value of a key, as a node if it is a task; a future stays what it is."""
        value = self.dsk[key]
        return value if hasattr(type(value), "__taskloom_input__") else convert_legacy_task(key, value, self.index)

    def outline(self) -> Graph:
        return {key: (identity, *node.dependencies) for key, node in convert_legacy_graph(self.dsk).items()}


def ends_of_aliases(dsk: Mapping[Key, Any]) -> dict[Key, Key]:
    """The keys that only stand for others, and what they mean in the end, where the graph has that."""
    found: dict[Key, Key] = {}
    for key, value in dsk.items():
        if value.__class__ is Alias and value.target != key:
            end, passed = value.target, {key}
            while end not in passed and dsk.get(end).__class__ is Alias:
                passed.add(end)
                end = dsk[end].target
            if end in dsk and end not in passed:
                found[key] = end
    return found


class Filled:
    """A function some of whose arguments are given, each in a tuple; None stands for one that is not."""

    __slots__ = ("args", "func")

    def __init__(self, func: Callable[..., Any], args: list[tuple[Any] | None]) -> None:
        self.func = func
        self.args = args

    def __call__(self, *inputs: Any) -> Any:
        __tracebackhide__ = True
        left = iter(inputs)
        return self.func(*[next(left) if arg is None else arg[0] for arg in self.args])


def future_of(key: Key) -> Any:
    """A future of this key, if one of Dask's clients has any."""
    if "distributed" not in sys.modules:
        return None
    from taskloom.adapters.distributed import connection

    return connection.future_of(key)


_NOWHERE = "which is not in the graph."


class DaskGraph(dict[Key, Any]):
    """A graph of Dask's, ready for an engine.

    Attributes
    ----------
    annotations : how tasks should be run, by key.
    shows_aliases : whether a key that stands for another key is a task of its own, as callbacks of Dask expect.
    """

    __taskloom_reader__ = DaskReader

    def __init__(
        self,
        dsk: Mapping[Key, Any],
        annotations: Mapping[Key, Annotations] | None = None,
        shows_aliases: bool = False,
    ) -> None:
        super().__init__(dsk)
        self.annotations = dict(annotations or {})
        self.shows_aliases = shows_aliases

    def __taskloom_tuples__(self) -> Graph:
        """The same graph in tuples, for those who put graphs together."""
        reader = DaskReader(self)
        reader.read_all()
        names = dict(enumerate(self))  # of what tasks take from others, by its link
        graph: dict[Key, Any] = {}
        for number, value in enumerate(reader.constants, 1):
            if hasattr(type(value), "__taskloom_input__"):
                graph[value.key] = value
                names[-number] = value.key
        for key, function, link in zip(self, reader.functions, reader.links, strict=True):
            if function is None:
                value = reader.data(key)
                graph[key] = value if hasattr(type(value), "__taskloom_input__") else (partial(identity, value),)
                continue
            links = (link,) if link.__class__ is int else link
            inputs = [names[node] for node in links if node in names]
            if len(inputs) < len(links):
                given = [None if node in names else (reader.constants[-node - 1],) for node in links]
                function = Filled(function, given)
            annotations = self.annotations.get(key, NONE)
            graph[key] = annotated(key, (function, *inputs), annotations) if annotations else (function, *inputs)
        return graph

    def __reduce__(self) -> Any:
        return dict, (dict(self),)  # where it goes there may be no taskloom

    def __or__(self, other: Mapping[Key, Any]) -> DaskGraph:  # type: ignore[override]
        return DaskGraph({**self, **other}, self.annotations, self.shows_aliases)
