"""The key by which processes of `multiprocessing` know each other: workers have their parent's, as its own children do.

With it, what a manager of the parent's hands out, such as locks and queues, works in tasks.
"""

from __future__ import annotations

import os
from multiprocessing.process import current_process


def offer() -> int:
    """A descriptor from which a child can take the key: it is in no argument and no environment, for all to see."""
    readable, writable = os.pipe()
    os.write(writable, bytes(current_process().authkey))
    os.close(writable)
    return readable


def take(file: int) -> None:
    """Have the key that the parent has offered."""
    current_process().authkey = os.read(file, 1024)
    os.close(file)
