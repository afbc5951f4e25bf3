"""Getting a thread out of its task, and never out of anything else.

CPython raises what is sent to a thread only where that thread would also give up the interpreter lock: after calls, at
jumps backwards, at the beginning of functions. Between the note that a task has begun or ended and the task itself is
no such place. Whoever has the lock and finds the note may thus send: it arrives inside of the task.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

NO_TASK = -1

_send: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc  # PyDLL: it keeps the interpreter lock
_send.argtypes = (ctypes.c_ulong, ctypes.py_object)


def stop(running: Sequence[int], thread: int, ident: int, id: int) -> None:
    """Raise KeyboardInterrupt in a thread, if it is in this task.

    Parameters
    ----------
    running : per thread the id of the task that it is in.
    """
    send, interrupt = _send, KeyboardInterrupt
    if running[thread] == id:  # from here to the call nobody else gets the interpreter lock
        send(ident, interrupt)


class Signal:
    """Stops the tasks of the main thread by SIGINT, which ends blocking calls, too."""

    def __init__(self, running: Sequence[int], cancelled: set[int]) -> None:
        self._running = running
        self._cancelled = cancelled
        signal.signal(signal.SIGINT, self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        """Whoever sends it is heard only while a task runs that has been cancelled."""
        if self._running[0] in self._cancelled:
            raise KeyboardInterrupt

    def send(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
