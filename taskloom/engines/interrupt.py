"""Getting the main thread out of a task when somebody else cancels its run."""

from __future__ import annotations

import signal
import threading
from time import sleep


class Interrupt:
    """A KeyboardInterrupt for the thread that made this object, if that is the main thread, until `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        main = threading.main_thread()
        self._possible = threading.get_ident() == main.ident and hasattr(signal, "pthread_kill")
        self._sent = False

    def send(self) -> None:
        """Interrupt the main thread, from another one, at most once."""
        with self._lock:
            main = threading.main_thread().ident
            if (
                self._possible
                and not self._sent
                and main is not None
                and threading.get_ident() != main
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            ):
                self._sent = True
                signal.pthread_kill(main, signal.SIGINT)  # interrupt_main() would not wake a blocking call

    def close(self, interrupted: bool) -> None:
        """Send nothing from now on; take in a signal that is under way, so that it hits nobody later."""
        with self._lock:
            self._possible = False
        if self._sent and not interrupted:
            try:
                for _ in range(1000):
                    sleep(0.001)
            except KeyboardInterrupt:
                pass
