"""Cloudpickle, but for one thing: functions that travel by value keep the name of the file they were written in.

Without it a traceback from a worker process could show no line of a notebook's or a script's own functions.
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

_reduce = cloudpickle.Pickler.dispatch_table[CodeType]
_NO_FILE = "<dynamic-code>"  # what cloudpickle writes in place of a file's name, from 3.1 on


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    make, fields, *rest = _reduce(code)
    file = code.co_filename
    return make, tuple([file if field.__class__ is str and field == _NO_FILE else field for field in fields]), *rest


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes what plain `pickle.load` reads."""

    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


def dumps_by_value(value: Any, keep: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value, with the functions and classes that only this process knows; raises what pickling raises.

    >>> double = pickle.loads(dumps_by_value(eval(compile("lambda x: 2 * x", "my_notebook.py", "eval"))))
    >>> double(4), double.__code__.co_filename
    (8, 'my_notebook.py')
    """
    file = io.BytesIO()
    Pickler(file, protocol=5, buffer_callback=keep).dump(value)
    return file.getvalue()
