"""A short name for what a value is: equal values get equal tokens, in every process."""

from __future__ import annotations

import pickle
import sys
import types
import uuid
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

__all__ = ["tokenize"]

_ATOMS = frozenset({int, float, bool, str, bytes, type(None), list, tuple})
_COLUMN_NOISE = frozenset({"_cache", "_freq", "_readonly"})
_CLASS_NOISE = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl"})


def tokenize(*args: Any, **kwargs: Any) -> str:
    """The token of some values: 32 hexadecimal digits.

    Sets and dictionaries count without their order, functions and classes by their module and name where they can be
    imported and by their code elsewhere, arrays by their content, and an object with `__dask_tokenize__` by what that
    returns. A value that cannot be pickled (a lock, an open file, a generator) gets a new token each time: it is
    never taken for another.

    Examples
    --------
    >>> tokenize([1, 2], {"a": 3, "b": 4}) == tokenize([1, 2], {"b": 4, "a": 3})
    True
    >>> tokenize(1) == tokenize(1.0)
    False
    """
    try:
        return _digest((args, kwargs) if kwargs else args, {}).hex()
    except Exception:  # pickling runs code of the value's class: whatever fails there means "cannot be told"
        return uuid.uuid4().hex


def _digest(value: Any, named: dict[int, Any]) -> bytes:
    pickler = _Canonical(named)
    pickler.dump(value)
    return pickler.digest()


class _Canonical(pickle.Pickler):
    """Pickles into a hash, and writes what pickle would write by chance (order, identity, addresses) by content."""

    def __init__(self, named: dict[int, Any]):
        self._hash = blake2b(digest_size=16)
        self._buffers: list[bytes] = []
        self._named = named  # functions and classes being described: those that refer to themselves come by again
        super().__init__(_Sink(self._hash.update), protocol=5, buffer_callback=self._take_buffer)
        self.fast = True  # no memo: it tells "the same string twice" from "two equal strings"

    def digest(self) -> bytes:
        for buffer in self._buffers:
            self._hash.update(buffer)
        return self._hash.digest()

    def _take_buffer(self, buffer: pickle.PickleBuffer) -> None:
        self._buffers.append(blake2b(buffer.raw(), digest_size=16).digest())

    def persistent_id(self, value: Any) -> Any:
        """Called for everything that is to be pickled; what it returns is pickled instead, unless it is None."""
        cls = value.__class__
        if cls in _ATOMS:
            return None
        if cls is dict:
            pairs = [(_digest(key, self._named), _digest(item, self._named)) for key, item in value.items()]
            return "dict", sorted(pairs)
        if cls is set or cls is frozenset:
            return cls.__name__, sorted([_digest(item, self._named) for item in value])
        return self._describe(value)

    def _describe(self, value: Any) -> Any:
        """What a value of a kind that pickle does not write canonically is made of; None: pickle does."""
        cls = value.__class__
        if cls is types.FunctionType:
            return self._named_once(value, _describe_function)
        if isinstance(value, type):
            return self._named_once(value, _describe_class)
        if hasattr(cls, "__dask_tokenize__"):
            return cls.__module__, cls.__qualname__, value.__dask_tokenize__()
        if cls is types.ModuleType:
            return "module", value.__name__
        if cls is types.CodeType:
            return _describe_code(value)
        if cls is types.MappingProxyType:
            return "mappingproxy", dict(value)
        if cls is property:
            return "property", value.fget, value.fset, value.fdel
        if cls is staticmethod or cls is classmethod:
            return cls.__name__, value.__func__
        numpy = sys.modules.get("numpy")
        if numpy is not None and cls is numpy.ndarray:
            return _describe_array(value, numpy)
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(value, pandas.api.extensions.ExtensionArray):
            return _describe_column(value)
        return None

    def _named_once(self, value: Any, describe: Callable[[Any], Any]) -> Any:
        name = (value.__class__.__name__, value.__module__, value.__qualname__)
        if id(value) in self._named or _is_importable(value):
            return name
        self._named[id(value)] = value
        # By digest: what the description refers to must be met while the value counts as being described.
        try:
            return *name[::2], _digest(describe(value), self._named)
        finally:
            del self._named[id(value)]


class _Sink:
    __slots__ = ("write",)

    def __init__(self, write: Callable[[Any], Any]):
        self.write = write


def _is_importable(value: Any) -> bool:
    """Whether module and name lead to this function or class, in another process too."""
    if value.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _describe_function(function: types.FunctionType) -> Any:
    names = _global_names(function.__code__)
    return (
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        [cell.cell_contents for cell in function.__closure__ or ()],
        {name: function.__globals__[name] for name in names if name in function.__globals__},
        {name: item for name, item in function.__dict__.items() if name != "__wrapped__"},
    )


def _describe_code(code: types.CodeType) -> Any:
    """What decides what the code does: not where it stands in which file."""
    return (
        code.co_name,
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
    )


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _describe_class(cls: type) -> Any:
    return cls.__bases__, {name: item for name, item in vars(cls).items() if name not in _CLASS_NOISE}


def _describe_array(array: Any, numpy: Any) -> Any:
    """Independent of strides, and without a copy where the array is contiguous."""
    if array.dtype.hasobject:
        content: Any = array.ravel().tolist()
    elif array.nbytes == 0:
        content = b""
    else:
        content = blake2b(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8), digest_size=16).digest()
    return "ndarray", array.dtype, array.shape, content


def _describe_column(column: Any) -> Any:
    """A pandas array as it is pickled, without what it remembers about its own past."""
    reduced: tuple[Any, ...] = (*column.__reduce_ex__(5), None)
    args, state = reduced[1:3]
    content = [
        [(name, item) for name, item in part.items() if name not in _COLUMN_NOISE] if isinstance(part, dict) else part
        for part in (state if isinstance(state, tuple) else (state,))
    ]
    return column.__class__, args, [part for part in content if part.__class__ is not list or part]
