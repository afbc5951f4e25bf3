"""Nested tasks and lists, flattened into a small program so that depth costs no recursion."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskloom.graph.task import apply, function_name, is_task

Step = tuple[Callable[..., Any] | None, int]  # (function, n): call it with the last n values; (None, n): make a list


class Recipe:
    """A nested task as a callable of its leaves: `(add, "a", [1, "b"])` becomes `recipe(a, 1, b)`.

    The program is in postfix order. A leaf is `None`; a step takes values off the stack and leaves one.
    """

    __slots__ = ("func", "program")

    def __init__(self, program: list[Step | None], func: Callable[..., Any]):
        self.program = program
        self.func = func  # the outermost function: what the task is called

    def __call__(self, *leaves: Any) -> Any:
        __tracebackhide__ = True  # a debugger shows the functions inside
        return self._fold(leaves, operator.call)

    def __taskloom_calls__(self) -> list[Callable[..., Any]]:
        """The functions that it calls."""
        return [self.func, *[step[0] for step in self.program if step is not None and step[0] not in (None, apply)]]

    def nest(self, leaves: Iterable[Any]) -> Any:
        """The nested task or list that the recipe was made from, with these leaves."""
        return self._fold(leaves, lambda *task: task)

    def _fold(self, leaves: Iterable[Any], combine: Callable[..., Any]) -> Any:
        __tracebackhide__ = True
        leaf = iter(leaves)
        stack: list[Any] = []
        for step in self.program:
            if step is None:
                stack.append(next(leaf))
                continue
            function, n = step
            first = len(stack) - n
            values = stack[first:]
            del stack[first:]
            stack.append(values if function is None else combine(function, *values))
        return stack[0]

    def __repr__(self) -> str:
        return f"<Recipe {function_name(self.func)} of {self.program.count(None)} values>"


def flatten(value: Any) -> tuple[Recipe, list[Any]]:
    """Split a task or list into its recipe and its leaves, from left to right."""
    program: list[Step | None] = []
    leaves: list[Any] = []
    todo = [value]
    while todo:  # root first and from the right, which is postfix order backwards
        item = todo.pop()
        if item.__class__ is list:
            program.append((None, len(item)))
            todo += item
        elif is_task(item):
            program.append((item[0], len(item) - 1))
            todo += item[1:]
        else:
            program.append(None)
            leaves.append(item)
    program.reverse()
    leaves.reverse()
    return Recipe(program, _outer_function(value)), leaves


def _outer_function(value: Any) -> Callable[..., Any]:
    """The function a person would name the task by: that of a call with keywords is the one called."""
    if not is_task(value):
        return list
    if value[0] is apply and len(value) > 1 and callable(value[1]):
        return value[1]  # type: ignore[no-any-return]
    return value[0]  # type: ignore[no-any-return]


def leaves_of(value: Any) -> Iterable[Any]:
    """Every leaf of a graph value: what may be a key."""
    if value.__class__ is list or is_task(value):
        return flatten(value)[1]
    return (value,)


def evaluate(value: Any, values: Mapping[Any, Any]) -> Any:
    """Compute one graph value, with keys looked up in `values` and everything else taken as it is."""
    if value.__class__ is not list and not is_task(value):
        return _look_up(value, values)
    recipe, leaves = flatten(value)
    return recipe(*[_look_up(leaf, values) for leaf in leaves])


def _look_up(leaf: Any, values: Mapping[Any, Any]) -> Any:
    try:
        return values[leaf]
    except (KeyError, TypeError):  # not a key, or not hashable
        return leaf


def refers_to(leaf: Any, key: Any) -> bool:
    """Whether a leaf is looked up as `key`, as a dictionary decides it: 1.0 and True are the key 1."""
    try:
        return hash(leaf) == hash(key) and (leaf is key or leaf == key)
    except TypeError:  # cannot be hashed, so it is no key
        return False


def substitute(value: Any, key: Any, replacement: Any) -> Any:
    """The same task or list with `replacement` in the place of the leaf `key`."""
    recipe, leaves = flatten(value)
    return recipe.nest([replacement if refers_to(leaf, key) else leaf for leaf in leaves])
