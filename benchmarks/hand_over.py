"""Ways to bring a large array to another process, and to wake one, beside the ways that taskloom goes."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from threading import Thread
from typing import Any

import numpy as np

from benchmarks.report import Report, micro, times
from benchmarks.rounds import Effort, interleave

LARGE = 100 << 20  # bytes
MESSAGE = bytes(150)  # about as long as one about a task
POPULATE_WRITE = 23  # of madvise

_libc = ctypes.CDLL(None, use_errno=True)


class _Span(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


def measure(effort: Effort) -> Report:
    array = np.ones(effort.choose(LARGE, LARGE // 100) // 8)
    with _sleeper() as pid:
        ways: dict[str, Callable[[], object]] = {
            "copy into fresh memory": array.copy,
            "write to a memfd": partial(_written, array, 1),
            "write halves to two memfds, in two threads (taskloom)": partial(_written, array, 2),
            "allocate a memfd, then write": partial(_allocated, array),
            "copy into a mapped memfd": partial(_mapped, array, 0),
            "copy into a mapped, populated memfd": partial(_mapped, array, POPULATE_WRITE),
            "process_vm_readv into fresh memory": partial(_read_from, pid, array),
        }
        copies = interleave(ways, 3 * effort.rounds)
    rows = [[name, micro(copies.median(name)), times(copies.ratio(name, "copy into fresh memory"))] for name in ways]
    calls = effort.choose(5_000, 20)
    trips: dict[str, Callable[[], object]] = {
        "round trip, one byte through a socket pair": partial(_through_sockets, b"x", False, calls),
        "the same, a message, and poll (taskloom)": partial(_through_sockets, MESSAGE, True, calls),
        "the same, a message through shared memory, and eventfd": partial(_through_memory, MESSAGE, calls),
    }
    first = next(iter(trips))
    measured = interleave(trips, 3 * effort.rounds)
    rows += [[name, micro(measured.median(name) / calls), times(measured.ratio(name, first))] for name in trips]
    notes = (
        f"µs; the array has {array.nbytes >> 20} MiB. The ratios are to the copy and to the first round trip. Two "
        "threads gain where two cores are idle, and nothing where they are not."
    )
    return Report("Hand-over", ("how", "µs", "ratio"), rows, notes)


# -- a large array -----------------------------------------------------------------------------------------------------


class _Memfds:
    """Files of anonymous memory, which last as long as this object: giving it back is nobody's time."""

    def __init__(self, number: int) -> None:
        self.files = [os.memfd_create("taskloom-benchmark", os.MFD_CLOEXEC) for _ in range(number)]

    def __del__(self) -> None:
        for file in self.files:
            os.close(file)


def _write(file: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(file, view) :]


def _written(array: Any, parts: int) -> _Memfds:
    view = memoryview(array).cast("B")
    size = view.nbytes // parts
    memfds = _Memfds(parts)
    work = [(file, view[part * size : (part + 1) * size]) for part, file in enumerate(memfds.files)]
    threads = [Thread(target=_write, args=each) for each in work[1:]]
    for thread in threads:
        thread.start()
    _write(*work[0])
    for thread in threads:
        thread.join()
    return memfds


def _allocated(array: Any) -> _Memfds:
    memfds = _Memfds(1)
    os.posix_fallocate(memfds.files[0], 0, array.nbytes)
    _write(memfds.files[0], memoryview(array).cast("B"))
    return memfds


def _mapped(array: Any, advice: int) -> _Memfds:
    memfds = _Memfds(1)
    os.ftruncate(memfds.files[0], array.nbytes)
    with mmap.mmap(memfds.files[0], array.nbytes) as memory:
        if advice:
            memory.madvise(advice)
        there = np.frombuffer(memory, dtype=array.dtype)
        np.copyto(there, array)
        del there
    return memfds


@contextmanager
def _sleeper() -> Iterator[int]:
    """A process that has what this one has, at the same addresses."""
    here, there = socket.socketpair()
    process = get_context("fork").Process(target=there.recv, args=(1,))
    process.start()
    try:
        assert process.pid is not None
        yield process.pid
    finally:
        here.send(b"x")
        process.join()
        here.close()
        there.close()


def _read_from(pid: int, array: Any) -> Any:
    fresh = np.empty_like(array)
    to, source = (_Span(each.ctypes.data, each.nbytes) for each in (fresh, array))
    if _libc.process_vm_readv(pid, ctypes.byref(to), 1, ctypes.byref(source), 1, 0) != array.nbytes:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    return fresh


# -- a short message ---------------------------------------------------------------------------------------------------


def _through_sockets(message: bytes, polls: bool, calls: int) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = get_context("fork").Process(target=_echo, args=(there, calls))
    process.start()
    poll = select.poll()
    poll.register(here, select.POLLIN)
    for _ in range(calls):
        here.send(message)
        if polls:
            poll.poll()
        here.recv(1000)
    process.join()
    here.close()
    there.close()


def _echo(sock: socket.socket, calls: int) -> None:
    for _ in range(calls):
        sock.send(sock.recv(1000))


def _through_memory(message: bytes, calls: int) -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE)
    bells = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2)]
    process = get_context("fork").Process(target=_answer, args=(page, bells, len(message), calls))
    process.start()
    for _ in range(calls):
        page[: len(message)] = message
        os.eventfd_write(bells[0], 1)
        os.eventfd_read(bells[1])
        page.seek(0)
        page.read(len(message))
    process.join()
    for bell in bells:
        os.close(bell)
    page.close()


def _answer(page: mmap.mmap, bells: Sequence[int], length: int, calls: int) -> None:
    for _ in range(calls):
        os.eventfd_read(bells[0])
        page[:length] = page[:length]
        os.eventfd_write(bells[1], 1)
