"""Callbacks with Dask's documented signatures, so that what was written for Dask works unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSet
from contextvars import ContextVar
from typing import Any, ClassVar

#: start(dsk), start_state(dsk, state), pretask(key, dsk, state), posttask(key, result, dsk, state, worker_id),
#: finish(dsk, state, errored); None where there is nothing to call.
Hooks = tuple[Callable[..., Any] | None, ...]

#: The hooks that the current run serves already: runs inside its tasks do not fire them again.
in_service: ContextVar[frozenset[Hooks]] = ContextVar("in_service", default=frozenset())


class ActiveCallbacks(MutableSet[Hooks]):
    """What is registered, less what the current run serves: empty inside a run, however runs overlap in time."""

    def __init__(self) -> None:
        self._registered: dict[Hooks, None] = {}

    def add(self, value: Hooks) -> None:
        self._registered[value] = None

    def update(self, values: Iterable[Hooks]) -> None:
        """Add several, as sets do."""
        for value in values:
            self.add(value)

    def discard(self, value: Hooks) -> None:
        self._registered.pop(value, None)

    def remove(self, value: Hooks) -> None:
        del self._registered[value]

    def is_registered(self, value: Hooks) -> bool:
        """Whether `value` is registered, be it in service or not."""
        return value in self._registered

    def __contains__(self, value: object) -> bool:
        return value in self._registered and value not in in_service.get()

    def __iter__(self) -> Iterator[Hooks]:
        return iter([hooks for hooks in list(self._registered) if hooks not in in_service.get()])

    def __len__(self) -> int:
        return len(list(iter(self))) if self._registered else 0

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}"


_registered = ActiveCallbacks()


class Callback:
    """Functions called while a graph runs, in the thread that called the engine.

    Give them as arguments, or write a subclass with methods ``_start``, ``_start_state``, ``_pretask``,
    ``_posttask`` and ``_finish``. Active as a context manager, or from `register` to `unregister`.

    Parameters
    ----------
    start : called as ``start(dsk)`` before the graph is compiled; it may change the mapping `dsk`.
    start_state : called as ``start_state(dsk, state)`` before the first task.
    pretask : called as ``pretask(key, dsk, state)`` when a task starts.
    posttask : called as ``posttask(key, result, dsk, state, worker_id)`` when it has finished.
    finish : called as ``finish(dsk, state, errored)`` once, also after a failure or interrupt.

    `state` is a dictionary with the live keys ``cache``, ``dependencies``, ``dependents``, ``finished``, ``ready``,
    ``released``, ``running``, ``waiting`` and ``waiting_data``.

    Examples
    --------
    >>> import taskloom
    >>> with Callback(pretask=lambda key, dsk, state: print("runs", key)):
    ...     taskloom.get({"a": (abs, -1), "b": (str, "a")}, "b")
    runs a
    runs b
    '1'
    """

    #: The hooks of every registered callback, as tuples of five.
    active: ClassVar[MutableSet[Hooks]] = _registered

    def __init__(
        self,
        start: Callable[..., Any] | None = None,
        start_state: Callable[..., Any] | None = None,
        pretask: Callable[..., Any] | None = None,
        posttask: Callable[..., Any] | None = None,
        finish: Callable[..., Any] | None = None,
    ) -> None:
        given = {
            "_start": start,
            "_start_state": start_state,
            "_pretask": pretask,
            "_posttask": posttask,
            "_finish": finish,
        }
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)

    @property
    def _callback(self) -> Hooks:
        names = ("_start", "_start_state", "_pretask", "_posttask", "_finish")
        return tuple(getattr(self, name, None) for name in names)

    def register(self) -> None:
        """Be called by every run from now on, from any thread."""
        Callback.active.add(self._callback)

    def unregister(self) -> None:
        """Be called no more.

        Raises
        ------
        KeyError
            It is not registered.
        """
        Callback.active.remove(self._callback)

    def __enter__(self) -> Callback:
        # One that is registered already stays so: inside a task, or in a block inside a block.
        self.__dict__.setdefault("_blocks", []).append(not _registered.is_registered(self._callback))
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        if self.__dict__["_blocks"].pop():
            self.unregister()


def hooks_of(callbacks: Any) -> list[Hooks]:
    """The hooks of one callback, or of a collection of callbacks and bare tuples of five functions.

    Raises
    ------
    TypeError
        One of them is none of these.
    """
    if callbacks is None:
        return []
    if hasattr(callbacks, "_callback") or _is_hooks(callbacks) or not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    hooks = []
    for callback in callbacks:
        found = getattr(callback, "_callback", callback)
        if not _is_hooks(found):
            raise TypeError(
                f"{callback!r} is no callback: it needs to be a taskloom.Callback or a tuple of 5 functions."
            )
        hooks.append(tuple(function or None for function in found))
    return hooks


def _is_hooks(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 5 and all(part is None or callable(part) for part in value)
