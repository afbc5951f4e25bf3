"""Results that are on disk: one file each, with a checksum, in a directory of the worker's own."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import struct
import zlib
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.sizes import size_text
from taskloom.errors import SpillError

if TYPE_CHECKING:
    from zict import File

Parts = tuple[Any, Sequence[Any]]  # a pickled value, and its large buffers

_HEAD = struct.Struct("<IQQ")  # checksum of the rest, and its length; length of the index
_ALIGN = 64  # of buffers, within the file


class Damaged(Exception):
    """A file does not hold what was written to it. The message names it."""


class SpillFiles:
    """Files by id. Any thread may call its methods.

    Parameters
    ----------
    directory : where they are; made when it is needed.
    most : how many bytes they may have.

    Attributes
    ----------
    nbytes : how many they have.
    """

    def __init__(self, directory: str, most: float = float("inf")) -> None:
        self.directory = directory
        self.most = most
        self.nbytes = 0
        self._sizes: dict[int, int] = {}
        self._lock = Lock()
        self._files: File | None = None

    def __contains__(self, id: int) -> bool:
        return id in self._sizes

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def write(self, id: int, parts: Parts) -> int:
        """Write a value; returns the size of its file.

        Raises
        ------
        SpillError
            There is no room for it, or the directory cannot be written to.
        """
        pieces = _pieces(*parts)
        size = sum([memoryview(piece).nbytes for piece in pieces])
        if self.nbytes + size > self.most:
            raise self._full(size, f"it may have {size_text(self.most)}, as distributed.spill.max_bytes says")
        try:
            files = self._open()
            files[str(id)] = pieces
        except OSError as error:
            why = _reason(error)
        else:
            why = ""
        if why:  # raised out here it does not hold on to the value by the other's traceback
            self._sweep()
            raise self._full(size, why)
        with self._lock:
            self.nbytes += size - self._sizes.get(id, 0)
            self._sizes[id] = size
        return size

    def read(self, id: int) -> Parts:
        """What was written.

        Raises
        ------
        KeyError
            There is no such file.
        Damaged
            It is not what it was.
        """
        if id not in self._sizes:
            raise KeyError(id)
        files = self._open()
        try:
            return _parts(files[str(id)])
        except (OSError, AssertionError, ValueError) as error:
            if id not in self._sizes:  # by now
                raise KeyError(id) from None
            path = os.path.join(self.directory, files.filenames.get(str(id), str(id)))
            raise Damaged(f"{path} ({_reason(error)})") from error

    def discard(self, id: int) -> bool:
        """Remove a file; returns whether there was one."""
        with self._lock:
            size = self._sizes.pop(id, None)
            if size is None:
                return False
            self.nbytes -= size
        with contextlib.suppress(OSError, KeyError):
            del self._open()[str(id)]
        return True

    def _open(self) -> File:
        with self._lock:
            if self._files is None:
                import zict

                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                self._files = zict.File(self.directory)
            return self._files

    def _sweep(self) -> None:
        """Remove what is left of files that could not be written to their end."""
        with self._lock, contextlib.suppress(OSError):
            known = set(self._files.filenames.values()) if self._files is not None else set()
            for name in os.listdir(self.directory):
                if name not in known:
                    os.remove(os.path.join(self.directory, name))

    def _full(self, size: int, why: str) -> SpillError:
        free = ""
        with contextlib.suppress(OSError):
            found = os.statvfs(os.path.dirname(self.directory))
            free = f"; {size_text(found.f_bavail * found.f_frsize)} of that disk are free"
        there = f"{self.directory}, which holds {size_text(self.nbytes)}"
        return SpillError(f"{size_text(size)} cannot be written to {there}: {why}{free}")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, "") + ": " + os.strerror(error.errno)
    return str(error) or type(error).__name__


def _pieces(payload: Any, views: Sequence[Any]) -> list[Any]:
    """A value as it is written: the head, the index, and the buffers, the first of which is the pickled value."""
    buffers = [memoryview(part) for part in (payload, *views)]
    index = pickle.dumps([(view.nbytes, not view.readonly) for view in buffers], 5)
    pieces: list[Any] = [index, bytes(-(_HEAD.size + len(index)) % _ALIGN)]
    for view in buffers:
        pieces += (view, bytes(-view.nbytes % _ALIGN))
    checksum = length = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        length += memoryview(piece).nbytes
    return [_HEAD.pack(checksum, length, len(index)), *pieces]


def _parts(content: Any) -> Parts:
    """What `_pieces` was given. The buffers are parts of `content`."""
    whole = memoryview(content)
    if whole.nbytes < _HEAD.size:
        raise ValueError("it is too short")
    checksum, length, index_length = _HEAD.unpack_from(whole)
    if whole.nbytes != _HEAD.size + length:
        raise ValueError(f"it has {whole.nbytes} bytes in place of {_HEAD.size + length}")
    if zlib.crc32(whole[_HEAD.size :]) != checksum:
        raise ValueError("its checksum does not match")
    place = _HEAD.size + index_length
    views = []
    index = pickle.loads(whole[_HEAD.size : place])
    place += -place % _ALIGN
    for nbytes, writable in index:
        view = whole[place : place + nbytes]
        views.append(view if writable else view.toreadonly())
        place += nbytes + -nbytes % _ALIGN
    return views[0], views[1:]
