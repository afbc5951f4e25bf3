"""Values on their way between processes.

A parcel holds a pickled value. Its large buffers (pickle protocol 5) are written once into sealed files of anonymous
memory, which every receiver maps for itself: what it writes there nobody else sees.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from taskloom.engines.worker.anonymous import private_mapping, sealed_files

SMALL = 32_768  # bytes: buffers up to this travel within the message
MAPPED = 262_144  # bytes: shorter files are read, which is quicker
_ALIGN = 64

#: Values of these types say what they are without being pickled one by one.
PLAIN = frozenset({type(None), bool, int, float, str, bytes, complex})
PLAIN_LENGTH = 1_000  # of text and bytes

Span = tuple[int, int, bool]  # offset, length, whether it is writable


def is_plain(value: Any) -> bool:
    """Whether a value is so small and simple that it travels as part of a message."""
    cls = value.__class__
    if cls is str or cls is bytes:
        return len(value) <= PLAIN_LENGTH
    return cls in PLAIN and (cls is not int or -(1 << 4096) < value < 1 << 4096)


@dataclass(slots=True)
class Parcel:
    """A pickled value. `files` are descriptors, of files that follow each other: the parcel's own, until `close`."""

    payload: bytes
    spans: Sequence[Span] = ()
    small: Sequence[bytes | bytearray] = ()
    files: Sequence[int] = ()
    nbytes: int = 0

    @classmethod
    def of(cls, value: Any) -> Parcel:
        """Pack a value; raises whatever pickling it raises."""
        return cls.of_parts(*parts_of(value))

    @classmethod
    def of_parts(cls, payload: bytes, views: Sequence[memoryview]) -> Parcel:
        """Pack what `parts_of` has made of a value."""
        if not views:
            return cls(payload, nbytes=len(payload))
        size = sum([view.nbytes for view in views])
        if size <= SMALL:
            small = [bytes(view) if view.readonly else bytearray(view) for view in views]
            return cls(payload, small=small, nbytes=len(payload) + size)
        parts: list[Any] = []
        spans: list[Span] = []
        offset = 0
        for view in views:
            spans.append((offset, view.nbytes, not view.readonly))
            padding = -view.nbytes % _ALIGN
            parts += (view, bytes(padding)) if padding else (view,)
            offset += view.nbytes + padding
        return cls(payload, spans, files=sealed_files(parts, offset), nbytes=len(payload) + offset)

    def value(self) -> Any:
        """Unpack the value; raises whatever unpickling it raises."""
        return pickle.loads(self.payload, buffers=self.buffers())

    def buffers(self) -> Sequence[Any]:
        """Those that were pickled apart, in memory of the caller's own."""
        if not self.files:
            return self.small
        size = os.fstat(self.files[0]).st_size
        whole = private_mapping(self.files) if size >= MAPPED else bytearray(os.pread(self.files[0], size, 0))
        view = memoryview(whole)
        return [
            view[offset : offset + length] if writable else view[offset : offset + length].toreadonly()
            for offset, length, writable in self.spans
        ]

    def copy(self) -> Parcel:
        """The same for somebody else, who closes it."""
        files: list[int] = []
        try:
            files.extend(map(os.dup, self.files))
        except BaseException:
            for file in files:
                os.close(file)
            raise
        return replace(self, files=files)

    def close(self) -> None:
        files, self.files = self.files, ()
        list(map(os.close, files))  # a single call of C: an interrupt comes behind all of it


def parts_of(value: Any) -> tuple[bytes, list[memoryview]]:
    """A pickled value and its large buffers, of which no copy is made; raises whatever pickling it raises."""
    buffers: list[pickle.PickleBuffer] = []
    payload = dumps(value, buffers)
    return payload, [buffer.raw() for buffer in buffers]


def dumps(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle a value, by plain pickle where that will do: it is many times faster than cloudpickle.

    Whatever mentions `__main__` is another module's name over there, and goes by value.
    """
    keep = None if buffers is None else buffers.append
    try:
        payload = pickle.dumps(value, 5, buffer_callback=keep)
        for name in _unimportable():
            if name in payload:
                break
        else:
            return payload
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        pass
    if buffers is not None:
        buffers.clear()
    import cloudpickle

    from taskloom.engines.worker.pickler import dumps_by_value

    known = cloudpickle.list_registry_pickle_by_value()
    names = [name.decode() for name in _unimportable() if name != _MAIN]
    modules = [sys.modules[name] for name in names if name in sys.modules and name not in known]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return dumps_by_value(value, keep)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


_MAIN = b"__main__"
_seen: set[str] = set()
_strangers = [_MAIN]


def _unimportable() -> list[bytes]:
    """Loaded modules that another process would not find under their name, such as the main script or a test's: their
    contents go by value."""
    if len(sys.modules) != len(_seen):
        tops = {name.partition(".")[0].encode() for name in [*sys.modules] if name not in _seen}
        _seen.update(sys.modules)
        _seen.intersection_update([*sys.modules])
        _strangers.extend(top for top in tops if top not in _strangers and not _can_be_found(top.decode()))
    return _strangers


def _can_be_found(name: str) -> bool:
    module = sys.modules.get(name)
    if getattr(module, "__name__", None) != name or name == "__main__":  # an alias; the main script is seen to apart
        return True
    file = getattr(module, "__file__", None)
    places = list(getattr(module, "__path__", ())) or ([file] if file else [])
    if not places or any(os.path.dirname(place) in sys.path for place in places if isinstance(place, str)):
        return True
    for finder in list(sys.meta_path):
        try:
            if finder.find_spec(name, None) is not None:
                return True
        except Exception:
            continue
    return False


def encode(kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> tuple[bytes, list[int]]:
    """A message and its open files."""
    files: list[int] = []
    packed = []
    for parcel in parcels:
        packed.append((parcel.payload, parcel.spans, parcel.small, len(parcel.files), parcel.nbytes))
        files += parcel.files
    return pickle.dumps((kind, fields, packed), 5), files


def decode(message: bytes, files: Sequence[int]) -> tuple[str, tuple[Any, ...], list[Parcel]]:
    """What `encode` was given; the parcels own the files."""
    kind, fields, packed = pickle.loads(message)
    left = iter(files)
    parcels = [
        Parcel(payload, spans, small, [next(left) for _ in range(n)], nbytes)
        for payload, spans, small, n, nbytes in packed
    ]
    return kind, fields, parcels
