"""How long a byte takes to another process and back: the measure of whatever needs an answer from a worker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context


@contextmanager
def echo() -> Iterator[Callable[[], None]]:
    """Start a process; what it gives sends a byte there through a Unix socket pair and waits for it to come back.

    The process has what this one has open: start it before those whose ends somebody listens to.
    """
    here, there = socket.socketpair()
    process = get_context("fork").Process(target=_answer, args=(here, there))
    process.start()
    there.close()
    try:
        yield partial(_ask, here)
    finally:
        here.close()
        process.join()


def _answer(here: socket.socket, there: socket.socket) -> None:
    here.close()
    while byte := there.recv(1):
        there.send(byte)


def _ask(sock: socket.socket) -> None:
    sock.send(b"x")
    sock.recv(1)


def repeat(call: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        call()
