"""What runs in forks: workers that begin as a copy of another process, and the server that makes copies of itself."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import random
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

from taskloom.bus.callback import Callback
from taskloom.engines.worker.ends import die_with
from taskloom.engines.worker.link import Link, link_on

_inherited: list[Any] = []  # streams of the parent: kept, as they would write what is in their buffers when they go


def become_worker(module: str, work: int, data: int, page: int, stdout: int, stderr: int, parent: int) -> NoReturn:
    """Be a worker from now on, in the only thread that a fork has left."""
    try:
        os.setsid()  # Ctrl-C in the terminal, and a notebook's interrupt, reach the parent only
        _take_streams(stdout, stderr)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):  # the parent's
                signal.signal(number, signal.SIG_DFL)
        threading.current_thread().name = "MainThread"
        _seed_apart()
        Callback.active.clear()  # they are called in the parent
        importlib.import_module(module).start(work, data, page, parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(1)


def _take_streams(stdout: int, stderr: int) -> None:
    _inherited.extend((sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, standard in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(own, standard)
        os.close(own)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False, errors="backslashreplace")  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, closefd=False, errors="backslashreplace")  # type: ignore[misc]  # noqa: SIM115


def _seed_apart() -> None:
    """Copies would draw the same numbers."""
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def serve(file: int, parent: int) -> NoReturn:
    """Fork a worker for each message that brings the files of one; tell when workers have started and ended."""
    die_with(parent)
    link = link_on(file)
    awake, waker = socket.socketpair()
    for sock in (awake, waker):
        sock.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that it wakes
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    poll.register(awake.fileno(), select.POLLIN)
    with contextlib.suppress(OSError):
        while True:
            for ready, _ in poll.poll():
                if ready == awake.fileno():
                    awake.recv(4096)
                    _report_the_dead(link)
                elif (received := link.receive()) is None:
                    os._exit(0)
                else:
                    _fork(link, received[0].decode(), received[1], (awake, waker))
    os._exit(0)


def _fork(link: Link, module: str, files: list[int], others: tuple[socket.socket, ...]) -> None:
    importlib.import_module(module)  # here, so that the next one has it
    server = os.getpid()
    pid = os.fork()
    if not pid:
        link.close()
        for sock in others:
            sock.close()
        become_worker(module, *files, server)  # type: ignore[call-arg]
    for file in files:
        os.close(file)
    link.send(pickle.dumps(("started", pid, 0)))


def _report_the_dead(link: Link) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            link.send(pickle.dumps(("ended", ended[0], os.waitstatus_to_exitcode(ended[1]))))
