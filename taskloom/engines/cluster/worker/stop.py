"""Getting a thread out of its task, and never out of anything else.

CPython raises what is sent to a thread only where that thread would also give up the interpreter lock: after calls, at
jumps backwards, at the beginning of functions. Between the note that a task has begun or ended and the task itself is
no such place. Whoever has the lock and finds the note may thus send: it arrives inside of the task.

Nobody is stopped in the midst of an import: who asked does so again a little later.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from taskloom.engines.worker.imports import importing

NO_TASK = -1

_send: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc  # PyDLL: it keeps the interpreter lock
_send.argtypes = (ctypes.c_ulong, ctypes.py_object)


def stop(running: Sequence[int], thread: int, ident: int, id: int) -> None:
    """Raise KeyboardInterrupt in a thread, if it is in this task and not importing something.

    Parameters
    ----------
    running : per thread the id of the task that it is in.
    """
    send, interrupt = _send, KeyboardInterrupt
    time.sleep(0)  # the lock is new then, and nobody has waited so long for it that it would be given up on the way
    if importing(sys._current_frames().get(ident)):
        return
    if running[thread] == id:  # from here to the call nobody else gets the interpreter lock
        send(ident, interrupt)


class Signal:
    """Stops the tasks of the main thread by SIGINT, which ends blocking calls, too."""

    def __init__(self, running: Sequence[int], cancelled: set[int]) -> None:
        self._running = running
        self._cancelled = cancelled
        signal.signal(signal.SIGINT, self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        """Whoever sends it is heard only while a task runs that has been cancelled, and imports nothing."""
        if self._running[0] in self._cancelled and not importing(frame):
            raise KeyboardInterrupt

    def send(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
