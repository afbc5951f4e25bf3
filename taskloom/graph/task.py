"""What a key and a task are, and the names people see for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

Key = Hashable  # str, bytes, int, float, or tuples of those, nested
Graph = Mapping[Any, Any]


def is_task(value: object) -> bool:
    """Whether `value` is a task: a tuple whose first element can be called.

    >>> is_task((len, "x")), is_task(("x", 0)), is_task(())
    (True, False, False)
    """
    return value.__class__ in (tuple, Task) and bool(value) and callable(value[0])


class Task(tuple[Any, ...]):
    """A task that can also be called, which is how callbacks receive the graph.

    It compares equal to the plain tuple it was made from.

    >>> Task((max, 1, "b"))({"b": 5})
    5
    """

    __slots__ = ()

    def __call__(self, values: Mapping[Any, Any] | None = None) -> Any:
        """Run the task; `values` holds the results of the keys it depends on."""
        from taskloom.graph.recipe import evaluate

        return evaluate(self, values or {})


def apply(function: Callable[..., Any], args: list[Any] | tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
    """Call `function(*args, **kwargs)`: how a graph says that a task has keyword arguments.

    >>> apply(int, ["ff"], {"base": 16})
    255
    """
    __tracebackhide__ = True
    return function(*args, **(kwargs or {}))


def identity(value: Any) -> Any:
    """Return `value`: what a key that stands for another key computes."""
    return value


_TOKEN = re.compile(r"(?=[0-9a-f]*\d)[0-9a-f]{8,}")  # a hash, as collections append to their names


@lru_cache(4096)
def _name_of_text(text: str) -> str:
    words = text.split("-")
    name = [words[0]]
    for word in words[1:]:
        if not word or word.isdigit() or _TOKEN.fullmatch(word) or "(" in word or "," in word:
            break
        name.append(word)
    return "-".join(name)


def task_name(key: Key) -> str:
    """The name under which views group a key: without its number, token or chunk position.

    >>> task_name(("sum-8a0f31c2d4e5b697", 0, 3)), task_name("load-2"), task_name("plain")
    ('sum', 'load', 'plain')
    """
    while isinstance(key, tuple) and key:
        key = key[0]
    if isinstance(key, bytes):
        key = key.decode(errors="replace")
    return _name_of_text(key[:1000]) if isinstance(key, str) else type(key).__name__


def nearest_keys(key: object, keys: Iterable[Key]) -> list[Key]:
    """The key that is written most like `key`, or none: for the message when there is no such key.

    >>> nearest_keys("lod-1", ["load-1", "sum"])
    ['load-1']
    """
    from difflib import get_close_matches  # a slow import that few need

    # Of a large graph the first keys only, and of long keys the beginning: it is slow, too.
    names = {str(other)[:200]: other for other in islice(keys, 10_000)}
    return [names[near] for near in get_close_matches(str(key)[:200], names, 1)]


def did_you_mean(name: object, known: Iterable[Key]) -> str:
    """A sentence that names the nearest of what is known, for the message that there is no such name; may be empty.

    >>> did_you_mean("n_worker", ["processes", "n_workers"])
    " Did you mean 'n_workers'?"
    """
    near = nearest_keys(name, known)
    return f" Did you mean {near[0]!r}?" if near else ""


def function_name(function: object) -> str:
    """A short name for the function of a task.

    >>> from functools import partial
    >>> function_name(len), function_name(partial(int, base=2))
    ('len', 'int')
    """
    for _ in range(100):  # a mock has a `func` that has a `func`, without end
        last = getattr(function, "funcs", None)  # of functions that toolz has composed
        if last.__class__ is tuple and last:
            function = last[-1]
            continue
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if inner is None or not callable(inner):
            break
        function = inner
    return str(getattr(function, "__name__", None) or type(function).__name__)


def short_key(key: object) -> str:
    """A key as text for messages: of a very long one the beginning and the end.

    >>> short_key(("x", 0)), len(short_key("x" * 1_000_000))
    ("('x', 0)", 195)
    """
    text = repr(key)
    return text if len(text) <= 200 else f"{text[:150]} ... {text[-40:]}"
