"""How a process and its workers notice each other's end, with the means that the system has."""

from __future__ import annotations

import os
import signal


def end_of(pid: int, link: int) -> int:
    """A descriptor that can be read once a child has ended, or nearly so.

    Without pidfd it is the parent's end of a link that the child never writes to: the system closes the other one when
    the child ends. A child that closed it by itself would be taken for dead, and should be killed.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return os.dup(link)


def die_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it ends, where it does such things."""
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it was quicker
        os._exit(1)
