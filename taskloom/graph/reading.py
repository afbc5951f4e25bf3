"""What a graph says, read once: per key a function, and where its arguments come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from taskloom.errors import MissingDependencyError
from taskloom.graph.annotations import NONE, Annotations
from taskloom.graph.ordering import Link
from taskloom.graph.recipe import flatten
from taskloom.graph.task import Graph, Key, Task, identity

# Arguments of these types that are no key are constants without a closer look.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})


class Reader(ABC):
    """Reads the values of a graph, as nodes of functions and links.

    A node is the position of a key in the graph; a link is a node, or, negative, the slot of a constant.

    Attributes
    ----------
    dsk : the graph.
    index : the node of each key; that of another key where a key only stands for that.
    constants : literal values; slot -1 is the first of them.
    functions : per node the function; None for data.
    links : per node those of its arguments: an int if there is one argument, else a tuple.
    joins : whether any task has several arguments.
    in_order : whether every node stands behind those it needs.
    annotations : how tasks should be run, by node, for those that were annotated apart from their functions.
    """

    annotations: Mapping[int, Annotations] = NONE

    def __init__(self, dsk: Graph) -> None:
        self.dsk = dsk
        self.index: dict[Key, int] = dict(zip(dsk, range(len(dsk)), strict=True))
        self.constants: list[Any] = []
        self.functions: list[Any] = []
        self.links: list[Any] = []
        self.joins = False
        self.in_order = True

    @abstractmethod
    def read_all(self) -> None:
        """Fill `functions` and `links`, and `look_at_links`."""

    def look_at_links(self) -> None:
        """Say whether they join and are in order."""
        joins, in_order = False, True
        for node, link in enumerate(self.links):
            if link.__class__ is int:
                if link >= node:
                    in_order = False
            elif link:
                joins = True
                if in_order and max(link) >= node:
                    in_order = False
        self.joins, self.in_order = joins, in_order

    @abstractmethod
    def data(self, key: Key) -> Any:
        """The value of a key that has no function."""

    @abstractmethod
    def outline(self) -> Graph:
        """A graph of tuples with the same keys and dependencies, to explain what is wrong with it."""


class TupleReader(Reader):
    """Reads graphs of plain tuples and lists."""

    def __init__(self, dsk: Graph) -> None:
        super().__init__(dsk)
        self.families: set[tuple[Any, int]] | None = None

    def data(self, key: Key) -> Any:
        return self.dsk[key]

    def outline(self) -> Graph:
        return self.dsk

    def read_all(self) -> None:
        find, constants = self.index.get, self.constants
        add_function, add_link = self.functions.append, self.links.append
        for value in self.dsk.values():
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
        self.look_at_links()

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
