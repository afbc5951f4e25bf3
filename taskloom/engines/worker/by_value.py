"""Pickling by value, by cloudpickle, for functions and classes that another process cannot import."""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar

import cloudpickle


def dumps(value: Any, keep: Callable[[pickle.PickleBuffer], Any] | None) -> bytes:
    """Pickle a value; out-of-band buffers go to `keep`."""
    with io.BytesIO() as file:
        _Pickler(file, 5, keep).dump(value)
        return file.getvalue()


def _make_code(filename: str, make: Callable[..., CodeType], *parts: Any) -> CodeType:
    return make(*parts).replace(co_filename=filename)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """What cloudpickle does, but with the file: it leaves that out, and tracebacks would show no source."""
    make, parts, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _make_code, (code.co_filename, make, *parts)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)
