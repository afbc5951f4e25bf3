"""The graphs that are measured. Any function of any arguments can be their task; by default it does nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

Function = Callable[..., Any]


class Case(NamedTuple):
    """A graph and the keys that are asked of it."""

    dsk: dict[Any, Any]
    keys: list[Any]


def null(*args: object) -> None:
    """The task that costs nothing, so that what is measured is the scheduler."""


def flat(n: int, function: Function = null) -> Case:
    """`n` tasks that have nothing to do with each other."""
    return Case({("x", i): (function, i) for i in range(n)}, [("x", i) for i in range(n)])


def chain(n: int, function: Function = null) -> Case:
    """`n` tasks, each of which takes the result of the one before."""
    dsk: dict[Any, Any] = {("x", 0): (function, 0)}
    for i in range(1, n):
        dsk["x", i] = (function, ("x", i - 1))
    return Case(dsk, [("x", n - 1)])


def tree(leaves: int, fan_in: int = 2, function: Function = null) -> Case:
    """A reduction of `leaves` tasks to one, `fan_in` at a time."""
    dsk: dict[Any, Any] = {("x", 0, i): (function, i) for i in range(leaves)}
    level, width = 0, leaves
    while width > 1:
        wider, width = width, -(-width // fan_in)
        for i in range(width):
            taken = range(fan_in * i, min(fan_in * (i + 1), wider))
            dsk["x", level + 1, i] = (function, *[("x", level, j) for j in taken])
        level += 1
    return Case(dsk, [("x", level, 0)])


def stencil(width: int, steps: int, function: Function = null) -> Case:
    """`steps` rows of `width` points; each takes the three nearest ones of the row above."""
    dsk: dict[Any, Any] = {("x", 0, i): (function, i) for i in range(width)}
    for step in range(1, steps):
        for i in range(width):
            near = range(max(i - 1, 0), min(i + 2, width))
            dsk["x", step, i] = (function, *[("x", step - 1, j) for j in near])
    return Case(dsk, [("x", steps - 1, i) for i in range(width)])


def shuffle(inputs: int, outputs: int, function: Function = null) -> Case:
    """Each input is split into a part for each output, and then all outputs are reduced to one."""
    dsk: dict[Any, Any] = {}
    for i in range(inputs):
        dsk["input", i] = (function, i)
        for j in range(outputs):
            dsk["part", i, j] = (function, ("input", i), j)
    for j in range(outputs):
        dsk["output", j] = (function, *[("part", i, j) for i in range(inputs)])
    dsk["all"] = (function, *[("output", j) for j in range(outputs)])
    return Case(dsk, ["all"])


def random_graph(n: int, fan_in: int, window: int, seed: int, function: Function = null) -> Case:
    """`n` tasks with up to `fan_in` inputs among the `window` tasks before; one takes all that nobody else takes."""
    choice = random.Random(seed)
    dsk: dict[Any, Any] = {}
    unused = dict.fromkeys(range(n))
    for i in range(n):
        before = range(max(0, i - window), i)
        taken = choice.sample(before, min(len(before), choice.randint(0, fan_in)))
        dsk["x", i] = (function, *[("x", j) for j in taken])
        for j in taken:
            unused.pop(j, None)
    dsk["all"] = (function, *[("x", i) for i in unused])
    return Case(dsk, ["all"])


def topological_loop(dsk: dict[Any, Any]) -> dict[Any, Any]:
    """What a scheduler cannot do without, for a graph whose tasks stand behind those they need."""
    results: dict[Any, Any] = {}
    for key, task in dsk.items():
        results[key] = task[0](*[results.get(argument, argument) for argument in task[1:]])
    return results
