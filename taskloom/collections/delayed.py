"""`delayed`: calls that become tasks instead of being run.

A `Delayed` keeps its own task and its inputs, no graph. One walk puts the graph together when it is asked for.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, overload

from taskloom.collections.base import CollectionMethods, threads
from taskloom.collections.delayed_call import Call, Finish, Method, task_of, unique_token
from taskloom.collections.operators import Operators
from taskloom.containers import Slot, extract, is_template
from taskloom.graph import adopted, annotated, function_name, identity, short_key
from taskloom.graph.annotations import here
from taskloom.scheduling import as_data, in_tuples, is_collection, plain_graph
from taskloom.tokenize import tokenize

__all__ = ["Delayed", "delayed"]

_NOTHING: Any = object()
_ITERATORS: dict[type, Callable[[Any], Any]] = {type(iter([])): list, type(iter(())): tuple, type(iter(set())): set}


class _Inputs:
    """Finds the collections among the arguments of a call."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Delayed] = []

    def template(self, argument: Any) -> Any:
        to = _ITERATORS.get(argument.__class__)
        return extract(argument if to is None else to(argument), self._slot_of)

    def _slot_of(self, value: Any) -> int | None:
        if not isinstance(value, Delayed):
            if is_collection(value):
                value = _finished(value)
            elif hasattr(value.__class__, "__taskloom_input__"):  # a future, which an engine knows what to do with
                value = Delayed(value.key, {value.key: value})
            else:
                return None
        self.found.append(value)
        return len(self.found) - 1


def _call(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], key: Any, nout: int | None = None
) -> Delayed:
    inputs = _Inputs()
    args = [inputs.template(arg) for arg in args]
    if kwargs:
        kwargs = {name: inputs.template(arg) for name, arg in kwargs.items()}
    task = task_of(func, args, kwargs, [value._key for value in inputs.found])
    annotations = here.get()
    if annotations:
        task = annotated(key, task, annotations)
    return _delayed(key, task, tuple(inputs.found), nout)


def _call_key(
    name: str, what: Any, args: Sequence[Any], kwargs: Mapping[str, Any], pure: bool | None, chosen: Any
) -> Any:
    """The key of a call: the chosen one, one that equal calls share if they are pure, or a new one."""
    if chosen is not None:
        return chosen
    return f"{name}-{tokenize(what, *args, **kwargs) if pure else unique_token()}"


def _finished(collection: Any) -> Delayed:
    """The value of another library's collection, as one task over its graph."""
    key = f"{type(collection).__name__}-{unique_token()}"
    (collection,) = adopted([collection], True)
    finish, extra = collection.__dask_postcompute__()
    keys = list(collection.__dask_keys__())
    return Delayed(key, {**in_tuples(plain_graph(collection)), key: (Finish(finish, extra), keys)})


class Delayed(CollectionMethods, Operators):
    """A value that is computed when it is asked for. Operators, methods and attributes give further ones.

    Parameters
    ----------
    key : the key of the value in `dsk`.
    dsk : a graph, as `taskloom.get` takes it.
    length : number of items the value has, if it is to be unpacked.

    Examples
    --------
    >>> value = Delayed("b", {"a": 1, "b": (abs, "a")})
    >>> value + 1, (value + 1).compute()
    (Delayed('add-...'), 2)
    """

    # `_inputs` is None where `_task` is a whole graph.
    __slots__ = ("__weakref__", "_inputs", "_key", "_length", "_task")

    _key: Any
    _task: Any
    _inputs: tuple[Delayed, ...] | None
    _length: int | None

    # An array or frame on the left leaves the operator to us.
    __array_ufunc__ = None
    __pandas_priority__ = 10_000

    def __init__(self, key: Any, dsk: Mapping[Any, Any], length: int | None = None):
        if key not in dsk:
            raise ValueError(f"The key {key!r} is not in the graph.")
        _initialize(self, key, dsk, None, length)

    @property
    def key(self) -> Any:
        """The key of the value in its graph."""
        return self._key

    @property
    def dask(self) -> Mapping[Any, Any]:
        """The graph."""
        return self.__taskloom_graph__([self])

    # Dask's collection protocol

    def __dask_graph__(self) -> Mapping[Any, Any]:
        return self.dask

    @staticmethod
    def __taskloom_graph__(collections: Sequence[Delayed]) -> dict[Any, Any]:
        graph: dict[Any, Any] = {}
        whole: set[int] = set()  # of the graphs that several values share
        todo = list(collections)
        while todo:
            value = todo.pop()
            if value._inputs is None:
                if id(value._task) not in whole:
                    whole.add(id(value._task))
                    graph.update(value._task)
            elif value._key not in graph:
                graph[value._key] = value._task
                todo += value._inputs
        return graph

    def __dask_keys__(self) -> list[Any]:
        return [self._key]

    def __dask_layers__(self) -> tuple[Any, ...]:
        return (self._key,)

    def __dask_tokenize__(self) -> Any:
        return self._key

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _only, ()

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild, (self._key, self._length)

    __dask_optimize__ = None  # the graph holds what is needed and nothing else
    __dask_scheduler__ = threads

    # what a value can do

    def _operate(self, function: Callable[..., Any], *operands: Any) -> Delayed:
        """Operators are taken to be pure: the same operands give the same key."""
        name = function.__name__.strip("_")
        return _call(function, operands, {}, f"{name}-{tokenize(name, *operands)}")

    def __call__(self, /, *args: Any, pure: bool | None = None, dask_key_name: Any = None, **kwargs: Any) -> Delayed:
        key = _call_key("call", self, args, kwargs, pure, dask_key_name)
        return _call(operator.call, (self, *args), kwargs, key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "expr":  # by which Dask, before 2026.8, knows collections that are made of its expressions
            raise AttributeError(f"Dask asks for .expr: for that of {self!r} say delayed(getattr)(value, 'expr').")
        return DelayedAttr(self, name)

    def __iter__(self) -> Iterator[Delayed]:
        if self._length is None:
            raise TypeError(
                f"{self!r} cannot be iterated: its length is not known before it is computed. "
                "Say how many items it has, delayed(function, nout=2), or iterate in a delayed function."
            )
        return iter([self[i] for i in range(self._length)])

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError(
                f"{self!r} has no len(): it is not computed yet. Say how many items it has, "
                "delayed(function, nout=2), or use delayed(len)(value)."
            )
        return self._length

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} is neither true nor false: it is not computed yet. Call .compute() first, or put the decision "
            "into a delayed function."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"{self!r} cannot be changed: set .{name} in a delayed function that returns the object.")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(f"{self!r} cannot be changed: set the item in a delayed function that returns the object.")

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Delayed({short_key(self._key)})"

    def _repr_html_(self) -> str:
        from taskloom.collections.delayed_html import html_of

        return html_of(self)

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __reduce__(self) -> Any:
        return Delayed, (self._key, self.dask, self._length)


_set_key, _set_task, _set_inputs, _set_length = (
    Delayed.__dict__[name].__set__ for name in ("_key", "_task", "_inputs", "_length")
)


def _initialize(value: Delayed, key: Any, task: Any, inputs: tuple[Delayed, ...] | None, length: int | None) -> None:
    """Fill the slots, which assignment refuses to."""
    _set_key(value, key)
    _set_task(value, task)
    _set_inputs(value, inputs)
    _set_length(value, length)


def _delayed(key: Any, task: Any, inputs: tuple[Delayed, ...], length: int | None = None) -> Delayed:
    value = Delayed.__new__(Delayed)
    _initialize(value, key, task, inputs, length)
    return value


def _rebuild(
    dsk: Mapping[Any, Any], key: Any, length: int | None, *, rename: Mapping[Any, Any] | None = None
) -> Delayed:
    return Delayed(rename.get(key, key) if rename else key, dsk, length)


def _only(results: Sequence[Any]) -> Any:
    return results[0]


class DelayedLeaf(Delayed):
    """A value that is there already: a function whose calls become tasks, or an object to work with lazily."""

    __slots__ = ("_nout", "_obj", "_pure")

    _obj: Any
    _pure: bool | None
    _nout: int | None

    def __init__(self, obj: Any, key: Any, pure: bool | None = None, nout: int | None = None):
        _initialize(self, key, as_data(obj), (), nout)
        _set_obj(self, obj)
        _set_pure(self, pure)
        _set_nout(self, nout)

    def __call__(self, /, *args: Any, pure: bool | None = None, dask_key_name: Any = None, **kwargs: Any) -> Delayed:
        func = self._obj
        if not callable(func):
            raise TypeError(f"{self!r} holds an object of type {type(func).__name__!r}, which cannot be called.")
        pure = self._pure if pure is None else pure
        key = _call_key(function_name(func), func, args, kwargs, pure, dask_key_name)
        return _call(func, args, kwargs, key, self._nout)

    def __reduce__(self) -> Any:
        return DelayedLeaf, (self._obj, self._key, self._pure, self._nout)

    @property
    def __name__(self) -> str:
        return str(self._obj.__name__)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._obj.__doc__  # type: ignore[no-any-return]

    @property
    def __wrapped__(self) -> Any:
        return self._obj


_set_obj, _set_pure, _set_nout = (DelayedLeaf.__dict__[name].__set__ for name in ("_obj", "_pure", "_nout"))


class DelayedAttr(Delayed):
    """An attribute of a value. When it is called, the call is one task with the look-up of the method."""

    __slots__ = ("_attribute", "_owner")

    _owner: Delayed
    _attribute: str

    def __init__(self, owner: Delayed, attribute: str):
        key = f"getattr-{tokenize(owner._key, attribute)}"
        _initialize(self, key, (Call(getattr, (Slot(0), attribute), {}), owner._key), (owner,), None)
        _set_owner(self, owner)
        _set_attribute(self, attribute)

    def __getattr__(self, name: str) -> Any:
        if name == "dtype" and self._attribute == "dtype":  # NumPy asks for the dtype of a dtype without end
            raise AttributeError("a dtype has no dtype")
        return super().__getattr__(name)

    def __call__(self, /, *args: Any, pure: bool | None = None, dask_key_name: Any = None, **kwargs: Any) -> Delayed:
        key = _call_key(self._attribute, self._key, args, kwargs, pure, dask_key_name)
        return _call(Method(self._attribute), (self._owner, *args), kwargs, key)

    def __reduce__(self) -> Any:
        return DelayedAttr, (self._owner, self._attribute)


_set_owner, _set_attribute = (DelayedAttr.__dict__[name].__set__ for name in ("_owner", "_attribute"))


@overload
def delayed(
    obj: Any, name: Any = None, pure: bool | None = None, nout: int | None = None, traverse: bool = True
) -> Delayed: ...
@overload
def delayed(
    *, name: Any = None, pure: bool | None = None, nout: int | None = None, traverse: bool = True
) -> Callable[[Any], Delayed]: ...
def delayed(
    obj: Any = _NOTHING, name: Any = None, pure: bool | None = None, nout: int | None = None, traverse: bool = True
) -> Any:
    """Make a function's calls tasks, or an object a value to work with lazily.

    Works as a decorator, with and without arguments. Arguments of a call may be delayed values, or lists, tuples,
    sets, dictionaries, slices, named tuples and dataclasses that hold some.

    Parameters
    ----------
    obj : a function, any other object, or a container of delayed values, which becomes one delayed value.
    name : the key of the object itself. A call takes ``dask_key_name=`` for its own.
    pure : True: equal calls share a key, and so are computed once. The arguments are hashed for it; a call with one
        that cannot be hashed gets a key of its own. A call takes ``pure=`` for itself.
    nout : how many items a call returns: its value can be unpacked then.
    traverse : False: do not look for delayed values inside of `obj`.

    Raises
    ------
    ValueError
        `nout` is not None or a whole number, at least 0.

    Examples
    --------
    >>> @delayed(pure=True)
    ... def add(a, b):
    ...     return a + b
    >>> three = add(1, 2)
    >>> three.key == add(1, 2).key
    True
    >>> (three * 2).compute()
    6
    >>> quotient, rest = delayed(divmod, nout=2)(17, 5)
    >>> (quotient + rest).compute()
    5
    """
    if obj is _NOTHING:
        return partial(delayed, name=name, pure=pure, nout=nout, traverse=traverse)
    if nout is not None and (type(nout) is not int or nout < 0):
        raise ValueError(f"nout must be None or a whole number, at least 0, not {nout!r}.")
    if isinstance(obj, Delayed):
        return obj
    if traverse or is_collection(obj):
        inputs = _Inputs()
        template = inputs.template(obj)
        if is_template(template):
            if name is None:
                name = f"{type(obj).__name__}-{tokenize(obj) if pure else unique_token()}"
            keys = [value._key for value in inputs.found]
            return _delayed(name, task_of(identity, [template], {}, keys), tuple(inputs.found), nout)
    if name is None:
        prefix = getattr(obj, "__name__", type(obj).__name__)
        name = f"{prefix}-{tokenize(obj, nout) if pure else unique_token()}"
    return DelayedLeaf(obj, name, pure, nout)
