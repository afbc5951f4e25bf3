"""Files without a name: memory that several processes share, and that is gone when none of them has it open.

Where the system has no anonymous memory (macOS) it is a temporary file that has lost its name at once. POSIX shared
memory would serve less well: it has a name until somebody removes it, and on macOS it cannot be written but through a
mapping. What the file holds stays in the page cache as long as there is room.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

from taskloom.engines.cpus import usable_cpus

if TYPE_CHECKING:
    from concurrent.futures import Future

try:
    import fcntl

    _SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
except (ImportError, AttributeError):
    _SEALS = 0


HALVED = 16 << 20  # bytes from which on two threads fill two files
MANY_FILES = 65_536
_FIXED = 0x10  # of mmap, which Python does not name


def empty_file() -> int:
    """The descriptor of a new one, which whoever has it may write to."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taskloom", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile

    with tempfile.TemporaryFile(prefix="taskloom-", buffering=0) as file:
        return os.dup(file.fileno())


def sealed_file(parts: Sequence[Any]) -> int:
    """The descriptor of one that holds these buffers, one behind the other, for good."""
    fd = empty_file()
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while view.nbytes:
                view = view[os.write(fd, view[: 1 << 30]) :]
        if _SEALS:
            with contextlib.suppress(OSError):  # no memory file: nobody writes to it all the same
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sealed_files(parts: Sequence[Any], size: int) -> Sequence[int]:
    """The same in two files, which two threads fill side by side, where there is so much to copy and a second core.

    One file will not do for that: the system lets one thread at a time write to it.
    """
    if size < HALVED or usable_cpus() < 2:
        return (sealed_file(parts),)
    from concurrent.futures import Future  # most have nothing so large

    head, tail = _halves(parts, size // 2 // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY)
    second: Future[int] = Future()
    try:
        Thread(target=_fill, args=(tail, second), name="taskloom-copy").start()
    except RuntimeError:  # no room for a thread
        return (sealed_file(parts),)
    first = -1
    try:
        first = sealed_file(head)
        return (first, second.result())
    except BaseException:
        second.add_done_callback(_discard)
        if first >= 0:
            os.close(first)
        raise


def _halves(parts: Sequence[Any], middle: int) -> tuple[list[memoryview], list[memoryview]]:
    """The first `middle` bytes of buffers that follow each other, and the rest."""
    head: list[memoryview] = []
    tail: list[memoryview] = []
    for part in parts:
        view = memoryview(part).cast("B")
        here = min(middle, view.nbytes)
        middle -= here
        if here:
            head.append(view[:here])
        if here < view.nbytes:
            tail.append(view[here:])
    return head, tail


def _fill(parts: Sequence[Any], file: Future[int]) -> None:
    try:
        file.set_result(sealed_file(parts))
    except BaseException as error:
        file.set_exception(error)


def _discard(file: Future[int]) -> None:
    if file.exception() is None:
        os.close(file.result())


def private_mapping(files: Sequence[int]) -> mmap.mmap:
    """What files hold, one behind the other, as memory of the caller's own: what is written there nobody else sees.

    It needs the files no longer. Python's own mapping of a file would keep it open, and a thousand open files are more
    than many systems allow.
    """
    import ctypes  # most get nothing that is mapped

    sizes = [os.fstat(file).st_size for file in files]
    memory = mmap.mmap(-1, sum(sizes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for file, size in zip(files, sizes, strict=True):
        if _mmap()(start, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _FIXED, file, 0) != start:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        start += size
    return memory


@cache
def _mmap() -> Any:
    """That of the system, which can put what it maps to a place."""
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t]
    return function


def allow_many_files() -> None:
    """Each large value on its way to a task is an open file: have room for as many as this user may have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MANY_FILES:
        most = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
