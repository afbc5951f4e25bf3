"""Find objects inside nested containers, and build the same containers with other objects in their places.

Looked into: list, tuple, set, frozenset, dict, OrderedDict, slice, named tuples and dataclass instances.
A container with nothing to replace stays the object it is.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

# Nothing can hide in these; a list of nothing else is passed over at C speed.
_ATOMS = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range})


class Slot:
    """The place of a found object: `fill` puts the value with this number there."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index

    def __repr__(self) -> str:
        return f"<Slot {self.index}>"


class Container:
    """A container with slots somewhere in it: what builds it, and its parts."""

    __slots__ = ("build", "parts")

    def __init__(self, build: Callable[[list[Any]], Any], parts: list[Any]):
        self.build = build
        self.parts = parts


def extract(value: Any, find: Callable[[Any], int | None]) -> Any:
    """The template of a value: a `Slot`, a `Container`, or the value itself where nothing was found in it.

    Parameters
    ----------
    value : anything.
    find : called with each object that is no plain number or text; says which slot it is, or None.

    Examples
    --------
    >>> found = []
    >>> template = extract([1, {"a": (2, len)}], lambda x: found.append(x) or 0 if x is len else None)
    >>> fill(template, ["filled"])
    [1, {'a': (2, 'filled')}]
    """
    cls = value.__class__
    if cls in _ATOMS:
        return value
    index = find(value)
    if index is not None:
        return Slot(index)
    build: Callable[[list[Any]], Any]
    if cls is list or cls is tuple or cls is set or cls is frozenset:
        build, parts = cls, value
    elif cls is dict or cls is OrderedDict:
        build, parts = _Mapping(cls), [item for pair in value.items() for item in pair]
    elif cls is slice:
        build, parts = _make_slice, (value.start, value.stop, value.step)
    elif isinstance(value, tuple) and hasattr(cls, "_make") and hasattr(cls, "_fields"):
        build, parts = cls._make, value
    elif is_dataclass(cls):
        return _extract_dataclass(value, find)
    else:
        return value
    if _ATOMS.issuperset(map(type, parts)):
        return value
    templates = [extract(part, find) for part in parts]
    return Container(build, templates) if _any_replaced(templates, parts) else value


def fill(template: Any, values: Sequence[Any]) -> Any:
    """What the template was made from, with `values` in its slots."""
    cls = template.__class__
    if cls is Slot:
        return values[template.index]
    if cls is Container:
        return template.build([values[p.index] if p.__class__ is Slot else fill(p, values) for p in template.parts])
    return template


def is_template(value: Any) -> bool:
    """Whether `extract` found something: the value is a slot, or a container with slots."""
    return value.__class__ is Slot or value.__class__ is Container


def _any_replaced(templates: list[Any], parts: Iterable[Any]) -> bool:
    return any(template is not part for template, part in zip(templates, parts, strict=True))


def _make_slice(parts: list[Any]) -> slice:
    return slice(*parts)


class _Mapping:
    __slots__ = ("cls",)

    def __init__(self, cls: type):
        self.cls = cls

    def __call__(self, parts: list[Any]) -> Any:
        return self.cls(zip(parts[::2], parts[1::2], strict=True))


class _Dataclass:
    """Sets fields of a copy: works for frozen classes, slots, and fields that `__init__` does not take."""

    __slots__ = ("blank", "names")

    def __init__(self, blank: Any, names: list[str]):
        self.blank = blank
        self.names = names

    def __call__(self, parts: list[Any]) -> Any:
        instance = copy.copy(self.blank)
        for name, part in zip(self.names, parts, strict=True):
            object.__setattr__(instance, name, part)
        return instance


def _extract_dataclass(value: Any, find: Callable[[Any], int | None]) -> Any:
    names, templates = [], []
    for field in fields(value):
        part = getattr(value, field.name, None)  # a field without a value yet stays so
        template = extract(part, find)
        if template is not part:
            names.append(field.name)
            templates.append(template)
    if not names:
        return value
    # The found objects must not travel with the template.
    blank = _Dataclass(value, names)([None] * len(names))
    return Container(_Dataclass(blank, names), templates)


def flat(nested: Any) -> Iterator[Any]:
    """What is in nested lists, from left to right; of anything else, just that.

    >>> list(flat(["a", ["b", ("c", 0)]])), list(flat("a"))
    (['a', 'b', ('c', 0)], ['a'])
    """
    todo = [nested]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += reversed(item)
        else:
            yield item
