"""What a notebook shows of a delayed value: nothing is computed for it, and of a large graph a part is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from taskloom.graph import function_name, identity, is_task
from taskloom.views.cards import delayed_card

if TYPE_CHECKING:
    from taskloom.collections.delayed import Delayed

COUNTED = 20_000  # tasks, at most: a few milliseconds


def html_of(value: Delayed) -> str:
    """The value's key, function and number of tasks.

    >>> from taskloom import delayed
    >>> "abs" in html_of(delayed(abs)(-1))
    True
    """
    tasks = _count(value)
    return delayed_card(value._key, _function_of(value), min(tasks, COUNTED), tasks > COUNTED)


def _count(value: Delayed) -> int:
    """How many tasks the graph holds; over `COUNTED` it may be more."""
    seen: set[Any] = set()
    todo = [value]
    while todo and len(seen) <= COUNTED:
        value = todo.pop()
        if value._inputs is None:
            seen.update(islice(value._task, COUNTED + 1))
        elif value._key not in seen:
            seen.add(value._key)
            todo += value._inputs
    return len(seen)


def _function_of(value: Delayed) -> str:
    """The name of the function that makes the value; empty where it is there already."""
    task = value._task
    if value._inputs is None and isinstance(task, Mapping):
        task = task[value._key]
    name = function_name(task[0]) if is_task(task) else ""
    return "" if name == identity.__name__ else name
