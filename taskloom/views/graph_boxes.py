"""Which boxes a graph is drawn as and where they stand: a box for each task, or for all tasks of one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from taskloom.bus import RunGraph
from taskloom.graph import Key, compile_plan, dependencies, function_name, is_task, task_name
from taskloom.views.graph_layout import columns
from taskloom.views.graph_places import WIDEST, Places
from taskloom.views.labels import name_label, one_line
from taskloom.views.palette import colors_of, name_colors

COLLAPSE_ABOVE = 300  # tasks: larger graphs are drawn a box per name
MOST_GROUPS = 200  # names with a box of their own; the tasks of all others share one
MOST_MEMBERS = 1000  # boxes that an opened group becomes; its other tasks share one more
MOST_EDGES = 6000  # curves: where there are more nobody can follow one
CHARACTER = 7.3  # a little more than a character of the 12 px font is wide
READABLE = 1100  # pixels that a notebook shows without making them too small to read: long labels are there to be read
KEY_LENGTH = 200  # characters of a key that a drawing keeps
LABEL_LENGTH = 24
MOST_LINES = 12  # that are shown of what is known of a box
LAYER_LABEL_LENGTH = 40  # of a node that is a whole layer: there are few of them
OTHERS = "other names"
NONE_OPENED: Mapping[str, int] = MappingProxyType({})


class Box(NamedTuple):
    """One box: `tasks` are numbers of the graph; `group` is what a click opens, empty for a single task."""

    key: str
    label: str
    color: str
    tasks: list[int]
    group: str
    x: int
    y: int


class Diagram:
    """A graph laid out: results on the right, columns by distance from the inputs.

    Parameters
    ----------
    graph : RunGraph
    opened : names whose tasks have boxes of their own though the graph is collapsed, up to 1000 of each: from which
        place in the graph's order on.
    collapsed : a box per name; by default where there are more than 300 tasks.

    Attributes
    ----------
    boxes : list of `Box`.
    layers : what was known of the tasks when it was laid out.
    box_of : per task the number of its box: of all that the graph had, which may have grown since.
    inputs : per box the boxes it takes results from.
    can_collapse : whether there would be fewer boxes if it were collapsed.
    width, box_width, height : pixels.

    Examples
    --------
    >>> diagram = Diagram(read_graph({"a": 1, "b": (abs, "a")}))
    >>> [box.label for box in diagram.boxes], diagram.inputs
    (['a', 'b'], [[], [0]])
    """

    def __init__(self, graph: RunGraph, opened: Mapping[str, int] = NONE_OPENED, collapsed: bool | None = None) -> None:
        self.graph = graph
        self.opened = opened
        size = len(graph)  # it may grow meanwhile
        self.collapsed = size > COLLAPSE_ABOVE if collapsed is None else collapsed
        keys = graph.keys[:size]
        self.layers = graph.layers
        grouped = _groups(self.layers.names(keys))
        self.can_collapse = not self.collapsed and len(grouped) < size
        self._groups = grouped if self.collapsed else {}
        members = _members(self._groups, opened) if self.collapsed else [("", [task]) for task in range(size)]
        names = list(map(task_name, keys))
        colors = name_colors([*colors_of(graph), *names])
        self.box_of = [0] * size
        for number, (_, tasks) in enumerate(members):
            for task in tasks:
                self.box_of[task] = number
        self.inputs = _inputs(graph, self.box_of, len(members))
        labels = [self._group_label(group) if group else self._task_label(tasks[0]) for group, tasks in members]
        counts = [len(f"{len(tasks):,}") * 2 + 3 if group else 0 for group, tasks in members]
        longest = max([len(label) + extra for label, extra in zip(labels, counts, strict=True)], default=0)
        self.box_width = max(48, int(longest * CHARACTER) + 22)
        widest = READABLE if longest > LABEL_LENGTH else WIDEST
        self._places = Places(columns(_forward(self.inputs)), self.box_width, widest)
        self.width, self.height = self._places.width, self._places.height
        self.boxes = [
            Box(
                group or key_text(graph.keys[tasks[0]]),
                labels[number],
                colors[names[tasks[0]]],
                tasks,
                group,
                *self._places.corner(number),
            )
            for number, (group, tasks) in enumerate(members)
        ]

    def about(self, box: int) -> list[str]:
        """What is known of what the tasks of a box make, line by line."""
        tasks = self.boxes[box].tasks
        key = self.graph.keys[tasks[0]]
        if len(tasks) > 1:
            layer = self.layers[self.boxes[box].group]
            lines = layer.lines if layer else ()
        else:
            layer = self.layers.of(key)
            is_whole = isinstance(key, str)
            lines = () if layer is None else layer.lines if is_whole else layer.part(key)
        return [one_line(line, KEY_LENGTH) for line in lines[:MOST_LINES]]

    def opening(self, group: str) -> Mapping[str, int]:
        """What is opened after a click on a group's box: where some of its tasks have boxes already, the next ones."""
        first = self.opened[group] + MOST_MEMBERS if group in self.opened else 0
        return {**self.opened, group: first if first < len(self._groups[group]) else 0}

    def opening_at(self, task: int) -> Mapping[str, int]:
        """What has to be opened for a task to have a box of its own."""
        group = self.boxes[self.box_of[task]].group
        place = self._groups[group].index(task)
        return {**self.opened, group: place - place % MOST_MEMBERS}

    def edges(self) -> str:
        """All edges in one SVG path."""
        return self._path((box, other) for box, needed in enumerate(self.inputs) for other in needed)

    def chain(self, tasks: list[int]) -> tuple[list[int], str]:
        """The boxes that a chain of dependent tasks goes through, and the path of the edges between them."""
        boxes = list(dict.fromkeys(self.box_of[task] for task in tasks))
        steps = zip(tasks[1:], tasks, strict=False)
        pairs = dict.fromkeys((self.box_of[task], self.box_of[other]) for task, other in steps)
        return boxes, self._path((box, other) for box, other in pairs if box != other)

    def _task_label(self, task: int) -> str:
        """What stands in a task's box; one that is a layer by itself is called by the layer's label."""
        key = self.graph.keys[task]
        layer = self.layers[key] if isinstance(key, str) else None
        return place_label(key) if layer is None else one_line(layer.label, LAYER_LABEL_LENGTH).strip() or "?"

    def _group_label(self, group: str) -> str:
        layer = self.layers[group]
        return one_line(name_label(group) if layer is None else layer.label, LABEL_LENGTH).strip() or "?"

    def _path(self, pairs: Iterable[tuple[int, int]]) -> str:
        return "".join([self._places.edge(other, box) for box, other in islice(pairs, MOST_EDGES)])


def read_graph(dsk: Mapping[Any, Any]) -> RunGraph:
    """What is drawn of a graph that has not run, its plain values included.

    Raises
    ------
    GraphError
        The graph has a cycle, or a task in it needs a key that is missing.
    """
    keys = list(dsk)
    compile_plan(dsk, keys)  # says what is wrong with a graph that cannot be run
    number = {key: task for task, key in enumerate(keys)}
    return RunGraph(
        keys,
        [function_name(dsk[key][0]) if is_task(dsk[key]) else "" for key in keys],
        [tuple([number[other] for other in dependencies(dsk, key)]) for key in keys],
    )


def key_text(key: Key) -> str:
    """A key as one printable line, cut to a length that a page can bear.

    >>> key_text(("load", 3)), len(key_text("x" * 1_000_000))
    ("('load', 3)", 200)
    """
    if isinstance(key, str):
        return one_line(key, KEY_LENGTH)
    if isinstance(key, tuple):
        return one_line(f"({', '.join(map(_part_text, key[:20]))}{',' if len(key) == 1 else ''})", KEY_LENGTH)
    return _part_text(key)


def _part_text(part: Any) -> str:
    if isinstance(part, tuple):
        return key_text(part)
    return one_line(repr(part[:KEY_LENGTH] if isinstance(part, str | bytes) else part), KEY_LENGTH)


def place_label(key: Key) -> str:
    """What stands in a task's box: its name and place, without hashes.

    >>> place_label(("add-8a0f31c2d4e5b697", 0, 3))
    'add 0 3'
    """
    name = task_name(key)
    if isinstance(key, tuple) and len(key) > 1:
        place = " ".join(_part_text(part).strip("'") for part in key[1:5])
        room = LABEL_LENGTH - len(one_line(place, LABEL_LENGTH // 2)) - 1
        return f"{one_line(name, room) or '?'} {one_line(place, LABEL_LENGTH // 2)}"
    if not isinstance(key, str | tuple):
        return one_line(key_text(key), LABEL_LENGTH)
    return one_line(name, LABEL_LENGTH).strip() or "?"


def _groups(names: list[str]) -> dict[str, list[int]]:
    """The tasks of each name; of the rarest names together where there are too many names."""
    groups: dict[str, list[int]] = {}
    for task, name in enumerate(names):
        groups.setdefault(name, []).append(task)
    if len(groups) > MOST_GROUPS:
        largest = sorted(groups, key=lambda name: len(groups[name]), reverse=True)
        others = [task for name in largest[MOST_GROUPS - 1 :] for task in groups.pop(name)]
        groups[OTHERS] = groups.get(OTHERS, []) + others
    return groups


def _members(groups: dict[str, list[int]], opened: Mapping[str, int]) -> list[tuple[str, list[int]]]:
    """The tasks of each box, and the name of the group that it stands for."""
    boxes: list[tuple[str, list[int]]] = []
    for name, tasks in groups.items():
        if len(tasks) == 1:
            boxes.append(("", tasks))
        elif name in opened:
            first, after = opened[name], opened[name] + MOST_MEMBERS
            boxes += [("", [task]) for task in tasks[first:after]]
            if others := tasks[:first] + tasks[after:]:
                boxes.append((name, others))
        else:
            boxes.append((name, tasks))
    return boxes


def _inputs(graph: RunGraph, box_of: list[int], n: int) -> list[list[int]]:
    found: list[dict[int, None]] = [{} for _ in range(n)]
    for box, needed in zip(box_of, graph.dependencies, strict=False):
        for other in needed:
            if box_of[other] != box:
                found[box][box_of[other]] = None
    return list(map(list, found))


def _forward(inputs: list[list[int]]) -> list[list[int]]:
    """The same without edges that close a cycle: groups may need each other, though no tasks do.

    A walk down from each box, along one way at a time: an edge that leads back into that way is left out.
    """
    kept: list[list[int]] = [[] for _ in inputs]
    state = bytearray(len(inputs))  # 0: not seen, 1: on the way, 2: done
    for root in range(len(inputs)):
        if state[root]:
            continue
        state[root] = 1
        todo = [(root, iter(inputs[root]))]
        while todo:
            box, needed = todo[-1]
            for other in needed:
                if state[other] == 1:
                    continue
                kept[box].append(other)
                if not state[other]:
                    state[other] = 1
                    todo.append((other, iter(inputs[other])))
                    break
            else:
                state[box] = 2
                todo.pop()
    return kept
