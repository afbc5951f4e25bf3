"""Getting the main thread out of a task when somebody else cancels its run."""

from __future__ import annotations

import signal
import sys
import threading
from time import sleep
from typing import Any

LOOK_AGAIN = 0.02  # seconds after which a thread that has not moved is sent the signal again
LOOKS = 25


class Interrupt:
    """A KeyboardInterrupt for the thread that made this object, if that is the main thread, until `close`.

    Until then Ctrl-C means the same inside of `asyncio.run`, whose own handler only asks the running coroutine to stop
    when it gets to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        main = threading.main_thread()
        self._possible = threading.get_ident() == main.ident and hasattr(signal, "pthread_kill")
        self._sent = False
        self._handler: Any = None  # asyncio's, while it is set aside
        if self._possible and event_loop_is_running():
            handler = signal.getsignal(signal.SIGINT)
            if getattr(getattr(handler, "func", None), "__qualname__", None) == "Runner._on_sigint":
                self._handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def send(self) -> None:
        """Interrupt the main thread, from another one.

        A signal that comes just before a call blocks does not end that call: then the thread stays where it is, with
        the signal still to be taken, and is sent another one to wake it.
        """
        main = threading.main_thread().ident
        if main is None or threading.get_ident() == main:
            return
        before = None
        for _ in range(LOOKS):
            with self._lock:
                if not self._possible or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                    return
                place = _place_of(main)
                if self._sent and place != before:  # it is on its way out
                    return
                before = place
                self._sent = True
                signal.pthread_kill(main, signal.SIGINT)  # interrupt_main() would not wake a blocking call
            sleep(LOOK_AGAIN)

    def close(self) -> None:
        """Send nothing from now on; take in a signal that is under way, so that it hits nobody later."""
        with self._lock:
            self._possible = False
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._sent:
            try:
                sleep(0)  # a system call: what was sent arrives here at the latest
            except KeyboardInterrupt:
                pass


def event_loop_is_running() -> bool:
    """Whether the calling thread is inside of an asyncio event loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _place_of(thread: int) -> tuple[int, int]:
    """Where a thread is: the same place again means that it has not moved."""
    frame = sys._current_frames()[thread]
    return id(frame), frame.f_lasti
