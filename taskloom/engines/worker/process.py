"""A worker process, seen from its parent."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

from taskloom.engines.worker.ends import end_of
from taskloom.engines.worker.launch import Files, Launcher
from taskloom.engines.worker.link import Link, link_pair
from taskloom.engines.worker.page import FETCHING, NOTHING, PACKING, RUN, STARTED, Page
from taskloom.engines.worker.parcel import Parcel, decode, encode
from taskloom.engines.worker.said import hear

LAST_LINES = 30  # of what a worker wrote to stderr, kept for the message when it dies
BY_ITSELF = 0.15  # seconds that a task gets to come to its end
STRIKE_AGAIN = 0.05  # seconds after which the signal is sent again: a task that imports something does not hear it

living: set[LinkedProcess] = set()  # of all pools and clusters


class LinkedProcess:
    """A process with two links, a page of shared memory and pipes for what it prints, seen from its parent.

    Attributes
    ----------
    module : the new process calls its `start` with the descriptors of links and page, and the parent's pid.
    page_type : the kind of page.
    """

    module: str
    page_type: type[Page]

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.name = name
        self.end = -1  # what can be read once it has ended
        self.manner = b""  # how it has been told to warn and log
        self.waiting: deque[tuple[Link, bytes, list[int]]] = deque()  # messages that its sockets do not take yet
        self._last_words = ""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            self.work, work = link_pair()
            undo.callback(self.work.close)
            theirs.callback(work.close)
            self.data, data = link_pair()
            undo.callback(self.data.close)
            theirs.callback(data.close)
            self._page, page = self.page_type.create()
            undo.callback(self._page.close)
            theirs.callback(os.close, page)
            self.page = self._page.words
            self.output: dict[int, str] = {}
            printed = []
            for name in ("stdout", "stderr"):
                here, there = os.pipe()
                undo.callback(os.close, here)
                theirs.callback(os.close, there)
                os.set_blocking(here, False)
                self.output[here] = name
                printed.append(there)
            self.work.sock.setblocking(False)
            self.data.sock.setblocking(False)
            living.add(self)  # now: the new process may be a fork, which gives up what is the parent's
            undo.callback(living.discard, self)
            self.process = launcher.start(Files(work.fileno(), data.fileno(), page, *printed), self.module)
            self.pid = self.process.pid
            undo.callback(self.process.wait)
            undo.callback(self.kill)
            self.end = end_of(self.pid, self.data.fileno())
            undo.pop_all()

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Send a message of work; it waits here while the worker's socket is full."""
        self._send(self.work, *encode(kind, *fields, parcels=parcels))

    def ask(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Send a message that the worker answers even while it runs a task."""
        self._send(self.data, *encode(kind, *fields, parcels=parcels))

    def _send(self, link: Link, message: bytes, files: list[int]) -> None:
        if not self.waiting:
            try:
                link.send(message, files)
                return
            except BlockingIOError:
                pass
            except OSError:  # it is dying: its end will be noticed
                return
        self.waiting.append((link, message, [os.dup(file) for file in files]))

    def send_waiting(self) -> None:
        while self.waiting:
            link, message, files = self.waiting[0]
            try:
                link.send(message, files)
            except BlockingIOError:
                return
            except OSError:
                pass
            self.waiting.popleft()
            for file in files:
                os.close(file)

    def receive(self) -> tuple[str, tuple[Any, ...], list[Parcel]] | None:
        """The next message that is there. What it has to say is heard on the way: its warnings and log records."""
        while True:
            try:
                received = self.work.receive()
            except (BlockingIOError, ConnectionError):
                return None
            if received is None:
                return None
            message = decode(*received)
            if message[0] != "said":
                return message
            hear(*message[1])

    def copy_output(self) -> None:
        """Write what it has printed to where this thread prints."""
        for name, text in self.read_output():
            stream = sys.stdout if name == "stdout" else sys.stderr
            if stream is not None:
                stream.write(text)

    def read_output(self) -> list[tuple[str, str]]:
        """What it has printed since the last time, by the name of the stream."""
        return [(name, text) for file, name in self.output.items() if (text := self._read_pipe(file, name))]

    def _read_pipe(self, file: int, name: str) -> str:
        chunks = []
        with contextlib.suppress(BlockingIOError, OSError):
            while len(chunk := os.read(file, 65536)):
                chunks.append(chunk)
        text = b"".join(chunks).decode(errors="replace")
        self.remember(name, text)
        return text

    def remember(self, name: str, text: str) -> None:
        """Note what it has printed to a stream: the last of it may tell how it came to its end."""
        if name == "stderr":
            self._last_words = (self._last_words + text)[-200 * LAST_LINES :]

    @property
    def last_lines(self) -> list[str]:
        """The end of what it wrote to stderr."""
        return self._last_words.splitlines()[-LAST_LINES:]

    def fate(self) -> str | None:
        """How it ended, or None while it lives."""
        code = self.process.poll()
        if code is None:
            return None
        if code < 0:
            try:
                return f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"was killed by signal {-code}"
        return f"exited with code {code}"

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()

    def close(self) -> None:
        """End it and give up everything that belongs to it."""
        self.kill()
        self.process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Give up everything that belongs to it, and let it be."""
        living.discard(self)
        self.work.close()
        self.data.close()
        for _, _, files in self.waiting:
            for file in files:
                os.close(file)
        self.waiting.clear()
        for file in self.output:
            os.close(file)
        if self.end >= 0:
            os.close(self.end)
        self._page.close()


class WorkerProcess(LinkedProcess):
    """One worker that has the tasks of one run at a time."""

    module = "taskloom.engines.worker.main"
    page_type = Page

    def is_busy(self, run: int) -> bool:
        """Whether it is inside a task of the run, or between two."""
        return self.page[RUN] == run and self.is_inside_a_task()

    def is_inside_a_task(self) -> bool:
        """Whether it is, by the page, or was when it died."""
        return bool(self.page[STARTED] != NOTHING)

    def packing(self) -> int:
        """The task whose result it was pickling, by the page, when somebody looked; -1 for none."""
        return int(max(self.page[PACKING], self.page[FETCHING]))

    def finish(self, run: int, deadline: float) -> None:
        """Have it finish what it does for a run: by itself if it can, else by a signal, else by its end."""
        if self.is_busy(run):
            self._wait_until_idle(min(deadline, monotonic() + BY_ITSELF))
        if self.is_busy(run):
            self.stop(deadline)
        if self.packing() >= 0:  # in a thread that no signal reaches, and so for ever
            self.kill()

    def stop(self, deadline: float) -> None:
        """Have it leave its task, if the task lets it."""
        while self.is_inside_a_task() and self.fate() is None and (now := monotonic()) < deadline:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGINT)
            self._wait_until_idle(min(deadline, now + STRIKE_AGAIN))

    def _wait_until_idle(self, deadline: float) -> None:
        """Wait for it to leave its task; what it sends meanwhile is of no use any more."""
        while self.is_inside_a_task() and self.fate() is None:
            left = deadline - monotonic()
            if left <= 0:
                return
            select.select([self.work.fileno()], [], [], min(left, 0.002))
            while (message := self.receive()) is not None:
                for parcel in message[2]:
                    parcel.close()


def _abandon_in_child() -> None:
    """The workers are the parent's. Whoever keeps an end of their links keeps others from seeing that they are gone."""
    for worker in list(living):
        worker.abandon()
        child: Any = getattr(worker, "process", None)
        if isinstance(child, subprocess.Popen):
            child.returncode = 0  # it is no child of this process, which would be warned that it goes on


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)
