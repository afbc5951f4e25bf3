"""What is known of a graph's tasks beyond their keys: in which layer a task is, and what a layer makes.

Graphs of taskloom's own have no layers. An adapter knows those of other libraries: it fills `layer_readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from taskloom.graph import Key, task_name


def _nothing(_key: Key) -> Sequence[str]:
    return ()


class Layer(NamedTuple):
    """Tasks that make the parts of one thing: their keys are its name, or tuples that begin with it.

    `label` is short; `lines` say what the tasks make together, `part` of a key what that task makes.
    """

    label: str
    lines: Sequence[str] = ()
    part: Callable[[Key], Sequence[str]] = _nothing


class Layers:
    """The layers of a graph, by name. Tasks of no layer are known by the name that their key has.

    Parameters
    ----------
    layers : dict, names and `Layer`s.
    unit : what a node of the graph is, in the plural.

    Examples
    --------
    >>> layers = Layers({"add-1f": Layer("add", ["4 chunks"])})
    >>> layers.names([("add-1f", 0), ("load", 3)]), layers.of(("add-1f", 0)).lines
    (['add-1f', 'load'], ['4 chunks'])
    """

    def __init__(self, layers: Mapping[str, Layer] = MappingProxyType({}), unit: str = "tasks") -> None:
        self._layers = layers
        self.unit = unit

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, name: str) -> Layer | None:
        return self._layers.get(name)

    def of(self, key: Key) -> Layer | None:
        """The layer of a task, if it is in one."""
        return self._layers.get(first_part(key))

    def names(self, keys: Iterable[Key]) -> list[str]:
        """What each task is grouped by."""
        if not self._layers:
            return list(map(task_name, keys))
        known = self._layers
        return [name if (name := first_part(key)) in known else task_name(key) for key in keys]


def first_part(key: Key) -> str:
    """The text that a key is or begins with; empty where there is none.

    >>> first_part((("add-1f", 0), 1)), first_part(7)
    ('add-1f', '')
    """
    while isinstance(key, tuple) and key:
        key = key[0]
    return key if isinstance(key, str) else ""


LayerReader = Callable[[Sequence[Key]], Mapping[str, Layer]]

#: Each is given the keys of a graph and says which layers it knows of. Called when a graph is drawn, not when it runs.
layer_readers: list[LayerReader] = []


def read_layers(keys: Sequence[Key]) -> Layers:
    """The layers of a graph, as far as anybody knows of them."""
    found: dict[str, Layer] = {}
    for reader in layer_readers:
        found |= reader(keys)
    return Layers(found)
