"""Expressions of Dask's, as a tree that is drawn: a node for each, with its operands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from typing import Any

import dask

from taskloom.adapters.dask.arrays import array_layer
from taskloom.adapters.dask.frames import VALUE_LENGTH, frame_layer, short, short_name
from taskloom.bus import Layer, Layers, RunGraph
from taskloom.graph import function_name

try:
    from dask._expr import Expr
except ImportError:  # an older dask, which has expressions only of dataframes
    from dask.dataframe.dask_expr._core import Expr  # type: ignore[import-not-found]

MOST_OPERANDS = 6  # that a tip names
LABELED = (
    "label",
    "kind",
    "path",
    "columns",
    "right",
    "_other",
    "other",
    "_slice",
    "left_on",
    "func",
    "new_partitions",
)
SAID = ("npartitions", "meta", "_meta", "user_meta", "divisions", "dsk")  # otherwise
NO_TEXT: Any = object.__repr__  # names a place in memory
MEANINGLESS = ("", "{}", "[]", "()", "None", "Dict()", "<no_default>")


class Refused(Exception):
    """Something was to be computed where nothing may be."""


@contextmanager
def refusing() -> Iterator[None]:
    """A block in which Dask computes nothing: what would is `Refused`."""
    with dask.config.set(scheduler=_refuse):
        yield


def _refuse(*_args: Any, **_options: Any) -> Any:
    raise Refused("Nothing is computed while a graph is drawn.")


def is_expression(value: object) -> bool:
    """Whether it is one of dask's expressions."""
    return isinstance(value, Expr)


def walk(roots: Iterable[Any]) -> Iterator[Any]:
    """Each expression below some, themselves included, once: those that need others before these."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        expression = todo.pop()
        if expression._name not in seen:
            seen.add(expression._name)
            yield expression
            todo += expression.dependencies()


def tree(roots: Sequence[Any]) -> RunGraph:
    """A node for each expression, which takes the results of its operands."""
    nodes = list(walk(roots))[::-1]
    with refusing():
        for node in nodes:
            _ask(node)
    number = {expression._name: place for place, expression in enumerate(nodes)}
    return RunGraph(
        list(number),
        [""] * len(nodes),
        [tuple(dict.fromkeys(number[other._name] for other in node.dependencies())) for node in nodes],
        layers=Layers({node._name: expression_layer(node) for node in nodes}, "expressions"),
    )


def expression_layer(expression: Any) -> Layer:
    """What is known of an expression: its operands, and what it makes as far as it can be said without computing."""
    operands = _operands(expression)
    name = next((name for name in LABELED if name in operands), None)
    told = "" if name is None else operands[name]
    if name == "path":
        told = told.rpartition("/")[2].rstrip("'")
    kind = type(expression).__name__
    label = f"{kind} {told}".strip()
    notes = [_part_text(part) for part in getattr(expression, "exprs", ())]
    notes += [f"{name} = {text}" for name, text in list(operands.items())[:MOST_OPERANDS]]
    known = vars(expression)  # properties that have been asked for once: others might read files, or compute
    meta = known.get("_meta")
    with suppress(Exception):  # a tip must not break what is drawn
        if "chunks" in known:
            return array_layer(label, known["chunks"], meta.dtype, notes)._replace(label=label)
        if "divisions" in known:
            return frame_layer(label, known["divisions"], meta, notes)
    return Layer(label, notes)


def _ask(expression: Any) -> None:
    """Have an expression find out what its layer tells; what it cannot tell is left out."""
    for name in ("_meta", "chunks", "divisions"):
        with suppress(Exception):
            getattr(expression, name)


def _part_text(part: Any) -> str:
    """One of the expressions that were fused into one."""
    operands = ", ".join([f"{name} = {text}" for name, text in list(_operands(part).items())[:2]])
    return f"· {type(part).__name__}{': ' if operands else ''}{operands}"


def _operands(expression: Any) -> dict[str, str]:
    """The operands that are no expressions and differ from what they are by default, in a few characters each."""
    defaults = expression._defaults
    names = zip_longest(expression._parameters, expression.operands, fillvalue="")
    texts = {
        name: _text(operand)
        for name, operand in names
        if name
        and (name in LABELED or not name.startswith("_"))
        and name not in SAID
        and not _holds_expression(operand)
        and not (name in defaults and _same(operand, defaults[name]))
    }
    return {name: text for name, text in texts.items() if text not in MEANINGLESS}


def _holds_expression(operand: Any) -> bool:
    return is_expression(operand) or (isinstance(operand, list | tuple) and any(map(is_expression, operand)))


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, bool | int | float | str | list | dict) and bool(one == other))


def _text(operand: Any) -> str:
    if callable(operand):
        return short_name(function_name(operand))
    if isinstance(operand, str) and len(operand) > VALUE_LENGTH and "/" in operand:
        return f"…{operand[-VALUE_LENGTH:]}"  # of a path the end says more
    kind = type(operand)
    if kind.__repr__ is not NO_TEXT:
        return short(operand)
    return "" if kind.__name__.startswith("_") else kind.__name__
