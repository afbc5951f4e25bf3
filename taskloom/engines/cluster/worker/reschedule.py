"""How a task says that it should run elsewhere."""

from __future__ import annotations


class Reschedule(Exception):
    """Raised by a task that wants to be run again, on another worker if there is one that may run it.

    It does not count as a failure, however often it is raised.
    """
