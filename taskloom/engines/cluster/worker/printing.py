"""What tasks print, warn of and log in a worker process: sent with the id of the task, so that it appears where that
was submitted."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from taskloom.engines.cluster.worker.place import current_task, undisturbed
from taskloom.engines.worker.said import say_it_here, send_what_is_said

NOBODY = -1  # in place of the id of a task


class Send(Protocol):
    """Sends a message to the coordinator."""

    def __call__(self, kind: str, *fields: Any) -> None: ...


class _Spoken(threading.local):
    id = NOBODY


_spoken = _Spoken()  # for which task a thread speaks that is inside of none


def speaker() -> int:
    """The id of the task whose words those of this thread are, `NOBODY` for none's."""
    if _spoken.id != NOBODY:
        return _spoken.id
    here = current_task()
    return NOBODY if here is None else here[1]


class Voice(NamedTuple):
    """A task, for which others may speak: what its own subtasks print."""

    id: int

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function: what it prints the task has printed."""
        before, _spoken.id = _spoken.id, self.id
        try:
            function(*args)
        finally:
            _spoken.id = before


def voice() -> Voice | None:
    """The voice of the task that the calling thread speaks for, in a worker process; None elsewhere."""
    id = speaker()
    return Voice(id) if id != NOBODY and isinstance(sys.stdout, TaskStream) else None


class TaskStream(io.TextIOWrapper):
    """``sys.stdout`` or ``sys.stderr`` of a worker process.

    Whole lines of tasks are sent at once: a task may end its process by the next. All else goes to the pipe, as does
    what C code writes.
    """

    def __init__(self, name: str, pipe: io.TextIOWrapper, send: Send) -> None:
        super().__init__(pipe.buffer, pipe.encoding, pipe.errors, line_buffering=True)
        self._name = name
        self._send: Send | None = send
        self._begun: dict[int, str] = {}  # lines without their ends, by the ids of tasks
        self.is_flushed = True

    def write(self, text: str, /) -> int:
        id = speaker()
        if id == NOBODY or self._send is None or not isinstance(text, str):
            self.is_flushed = False
            return super().write(text)
        whole = self._begun.pop(id, "") + text
        if "\n" in text or "\r" in text:
            self._say(id, whole)
        elif whole:
            self._begun[id] = whole
        return len(text)

    def flush(self) -> None:
        if self._begun:
            self._end_line(speaker())
        self.is_flushed = True
        super().flush()

    def end_lines(self) -> None:
        """Send what has been begun, of all tasks."""
        for id in list(self._begun):
            self._end_line(id)

    def _end_line(self, id: int) -> None:
        text = self._begun.pop(id, "")
        if text:
            self._say(id, text)

    def _say(self, id: int, text: str) -> None:
        send = self._send
        if send is not None:
            with undisturbed():
                send("printed", id, self._name, text)

    def let_go(self) -> None:
        """Use the pipe only, in a fork."""
        self._send = None
        self._begun.clear()


class Printing:
    """Takes the place of this process's output, its warnings and its log handlers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._streams: list[TaskStream] = []
        for name in ("stdout", "stderr"):
            stream = TaskStream(name, getattr(sys, name), send)
            setattr(sys, name, stream)
            self._streams.append(stream)
        send_what_is_said(self._say)

    def _say(self, what: str, payload: bytes) -> None:
        """Have a warning or a log record heard where the task was submitted."""
        with undisturbed():
            self._send("told", speaker(), what, payload)

    def flush(self) -> None:
        """Have what has been printed on its way."""
        out, err = self._streams
        if out._begun or err._begun:
            out.end_lines()
            err.end_lines()
        if not (out.is_flushed and err.is_flushed and sys.stdout is out and sys.stderr is err):
            flush_streams()

    def let_go(self) -> None:
        """Print on the pipes from now on, in a fork."""
        for stream in self._streams:
            stream.let_go()
        say_it_here()


def flush_streams() -> None:
    """Flush whatever stands in the places of stdout and stderr."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass
