"""How a delayed call becomes a task `(function, key, ...)`.

Only keys follow the function. Everything that is no input travels inside of the function, where no engine can take
a constant for a key.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from taskloom.containers import Slot, fill
from taskloom.graph import function_name


def _new_series() -> None:
    """Start a series of tokens that no other process uses: at import, and again in a forked child."""
    global _series, _count
    _series = os.urandom(8).hex()
    _count = itertools.count()


_series: str
_count: itertools.count[int]
_new_series()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_series)


def unique_token() -> str:
    """32 hexadecimal digits that were never used before; ten times cheaper than a UUID."""
    return f"{_series}{next(_count):016x}"


def task_of(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], keys: Sequence[Hashable]
) -> tuple[Any, ...]:
    """The task for `func(*args, **kwargs)`, with the results of `keys` in the slots of the arguments."""
    n = len(args) - len(keys)
    if n < 0 or any([arg.__class__ is not Slot for arg in args[n:]]):  # noqa: C419 - a third of the time
        return (Call(func, args, kwargs), *keys)
    if n or kwargs:  # constants come first, which `partial` does without a Python frame
        return (partial(func, *args[:n], **kwargs), *keys)
    return (func, *keys)


class Call:
    """A call whose inputs are left open."""

    __slots__ = ("_args", "_kwargs", "func")

    def __init__(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]):
        self.func = func
        self._args = args
        self._kwargs = kwargs

    def __call__(self, *values: Any) -> Any:
        __tracebackhide__ = True
        args = [values[arg.index] if arg.__class__ is Slot else fill(arg, values) for arg in self._args]
        if not self._kwargs:
            return self.func(*args)
        return self.func(*args, **{name: fill(arg, values) for name, arg in self._kwargs.items()})

    def given(self) -> partial[Any]:
        """The function with what it is called with, `Slot` objects in the places of inputs."""
        return partial(self.func, *self._args, **self._kwargs)

    def __repr__(self) -> str:
        return f"<call of {function_name(self.func)}>"


class Method:
    """Calls a method by name."""

    __slots__ = ("__name__",)

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, owner: Any, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return getattr(owner, self.__name__)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<method {self.__name__}>"


class Finish:
    """Makes the value of a collection from the results of its keys: its `__dask_postcompute__`."""

    __slots__ = ("_extra", "func")

    def __init__(self, func: Callable[..., Any], extra: tuple[Any, ...]):
        self.func = func
        self._extra = extra

    def __call__(self, results: Any) -> Any:
        return self.func(results, *self._extra)
