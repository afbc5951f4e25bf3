"""Functions on their way to a cluster: each is pickled and sent once, as long as it stays what it was."""

from __future__ import annotations

import asyncio
import builtins
import inspect
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import ref

from taskloom.containers import fill
from taskloom.engines.worker.parcel import PLAIN, dumps
from taskloom.graph import function_name

MOST = 1_000  # functions that are remembered
FEW = 32  # ... of those that are pickled each time: what they refer to may be large
_ABSENT: Any = object()
_BY_VALUE = b"cloudpickle"  # what the pickle of a function mentions that does not go by its name

#: A place where a function finds something, and what is there: if it changes, so does the function.
Look = tuple[dict[str, Any], str, Any]


class Function:
    """A function that a client has made known, or is about to.

    Attributes
    ----------
    code : its number.
    parcel : the pickled function, until it has been sent.
    name : what views call it.
    token : its part in the keys of pure calls, once somebody has asked for it.
    """

    __slots__ = ("__weakref__", "_looks", "code", "function", "name", "parcel", "payload", "token")

    def __init__(self, function: Any, code: int, parcel: Any, looks: Sequence[Look] | None) -> None:
        self.parcel = parcel
        self.function = function  # held, so that its identity is not given to another one
        self.code = code
        self.payload = getattr(parcel, "payload", None)
        self.name = function_name(function)
        self.token: bytes | None = None
        self._looks = looks

    @property
    def is_lasting(self) -> bool:
        """Whether `stays` can tell."""
        return self._looks is not None

    def stays(self) -> bool:
        """Whether it is surely the same function still."""
        looks = self._looks
        if looks is None:
            return False
        return all(names.get(name, _ABSENT) is found for names, name, found in looks)

    def changed(self) -> None:
        """Something that it refers to has changed: so have the keys of its calls, and it may change again."""
        self.token = None
        self._looks = None


class _Trace(ref[Function]):
    """What is left of a function that nothing here uses any more."""

    __slots__ = ("code",)

    code: int


class Functions:
    """The functions that a client has sent, by identity.

    Parameters
    ----------
    pack : makes parcels of objects.
    number : gives codes.
    by_reference : whether parcels hold the function itself, as in a cluster of threads.
    """

    def __init__(
        self,
        pack: Callable[[Any], Any],
        number: Callable[[], int],
        by_reference: bool = False,
    ) -> None:
        self._pack = pack
        self._number = number
        self._by_reference = by_reference
        self._known: dict[Any, Function] = {}
        self._fleeting: dict[Any, Function] = {}  # of which nobody can tell whether they stay what they are
        self._traces: set[_Trace] = set()
        self._gone: list[Any] = []  # a list takes them without any code of Python's, which an interrupt could end

    def forgotten(self) -> list[int]:
        """Codes that will not be used again, until they are `told`."""
        return [trace.code for trace in self._gone]

    def told(self, n: int) -> None:
        """The first `n` of those that are forgotten have been told."""
        self._traces.difference_update(self._gone[:n])
        del self._gone[:n]

    def find(self, function: Any) -> Function:
        """The code of a function; raises what pickling it raises.

        What the function refers to may have changed since it was pickled, unless it goes by its name or stands alone:
        then it is pickled anew, and has a new code unless the outcome is the same.
        """
        known = self._known.get(id(function))
        if known is not None:
            if known.stays():
                return known
            if self._by_reference:
                known.changed()
                return known
        return self._learn(function)

    def find_shaped(self, function: Any, shape: Shape) -> Function:
        """The code of a function that is called with values arranged in some shape."""
        base = self.find(function)
        key = (base.code, shape)
        known = self._known.get(key) or self._fleeting.get(key)
        if known is not None:
            return known
        shaped = Shaped(runnable(function), shape)
        return self._remember(key, shaped, function, self._pack(shaped), () if base.is_lasting else None)

    def _learn(self, function: Any) -> Function:
        parcel = self._pack(runnable(function))
        known = self._fleeting.get(id(function))
        if known is not None and known.payload is not None and known.payload == parcel.payload and not parcel.files:
            return known
        looks = looks_of(function, _pickled(function) if self._by_reference else parcel.payload)
        return self._remember(id(function), function, function, parcel, looks)

    def _remember(self, key: Any, function: Any, named: Any, parcel: Any, looks: Sequence[Look] | None) -> Function:
        made = Function(function, self._number(), parcel, looks)
        made.name = function_name(named)
        trace = _Trace(made, self._gone.append)
        trace.code = made.code
        self._traces.add(trace)
        for functions in (self._known, self._fleeting):
            functions.pop(key, None)
        lasting = looks is not None or self._by_reference
        functions, most = (self._known, MOST) if lasting else (self._fleeting, FEW)
        functions[key] = made
        if len(functions) > most:
            functions.pop(next(iter(functions)))
        return made


def _pickled(function: Any) -> bytes:
    """How a function that need not be pickled would be."""
    try:
        return dumps(function)
    except Exception:
        return _BY_VALUE


def looks_of(function: Any, payload: bytes) -> Sequence[Look] | None:
    """What must stay the same for a function to stay what it is; None where that cannot be told.

    >>> looks_of(len, dumps(len))
    ()
    """
    kind = type(function)
    if kind is BuiltinFunctionType or isinstance(function, type):
        return None if _BY_VALUE in payload or not _is_global(function) else ()
    if kind is not FunctionType:
        return None
    if _BY_VALUE not in payload:
        return ()
    looks: list[Look] = []
    return looks if _stands_alone(function, looks, set()) else None


def _is_global(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    return owner is None or isinstance(owner, ModuleType) or isinstance(function, type)


def _stands_alone(function: FunctionType, looks: list[Look], seen: set[int]) -> bool:
    """Whether it refers to modules, builtins, plain values and functions of that kind only; notes where."""
    if id(function) in seen:
        return True
    seen.add(id(function))
    if function.__closure__ or function.__dict__ or function.__kwdefaults__:
        return False
    if not all(value.__class__ in PLAIN for value in function.__defaults__ or ()):
        return False
    where = function.__globals__
    for name in names_of(function.__code__):
        found = where.get(name, _ABSENT)
        looks.append((where, name, found))
        if found is _ABSENT or found.__class__ in PLAIN or isinstance(found, ModuleType | BuiltinFunctionType):
            continue
        if getattr(builtins, name, _ABSENT) is found:
            continue
        if found.__class__ is not FunctionType and not isinstance(found, type):
            return False
        if _goes_by_name(found):
            continue
        if isinstance(found, type) or not _stands_alone(found, looks, seen):
            return False
    return True


def _goes_by_name(found: Any) -> bool:
    try:
        return _BY_VALUE not in dumps(found)
    except Exception:
        return False


def names_of(code: CodeType) -> set[str]:
    """The names that a function may look up, and those of the functions inside of it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_of(constant)
    return names


def runnable(function: Any) -> Any:
    """What a worker calls for a function: of a coroutine function, the coroutine is run there.

    >>> async def twice(x): return 2 * x
    >>> runnable(twice)(4)
    8
    """
    return RunCoroutine(function) if inspect.iscoroutinefunction(function) else function


class RunCoroutine:
    """A coroutine function as one that gives its result, by an event loop of each call."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    @property
    def __name__(self) -> str:
        return function_name(self.func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return asyncio.run(self.func(*args, **kwargs))


#: How the values that a task is called with become arguments: names of the last ones, positions of templates, and the
#: number of values that fill those.
Shape = tuple[tuple[str, ...], tuple[int, ...], int]


class Shaped:
    """A function whose arguments are put together first: of templates and what fills them, and with their names.

    >>> from taskloom.containers import Container, Slot
    >>> Shaped(sorted, (("reverse",), (0,), 2))(Container(list, [Slot(0), Slot(1)]), True, 1, 2)
    [2, 1]
    """

    __slots__ = ("func", "shape")

    def __init__(self, func: Callable[..., Any], shape: Shape) -> None:
        self.func = func
        self.shape = shape

    def __call__(self, *values: Any) -> Any:
        __tracebackhide__ = True
        names, places, count = self.shape
        args = list(values[: len(values) - count])
        fillings = values[len(values) - count :]
        for place in places:
            args[place] = fill(args[place], fillings)
        if not names:
            return self.func(*args)
        first = len(args) - len(names)
        return self.func(*args[:first], **dict(zip(names, args[first:], strict=True)))

    def __repr__(self) -> str:
        return f"<call of {function_name(self.func)}>"
