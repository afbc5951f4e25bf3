"""Files without a name: memory that several processes share, and that is gone when none of them has it open.

Where the system has no anonymous memory (macOS) it is a temporary file that has lost its name at once. POSIX shared
memory would serve less well: it has a name until somebody removes it, and on macOS it cannot be written but through a
mapping. What the file holds stays in the page cache as long as there is room.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

try:
    import fcntl

    _SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
except (ImportError, AttributeError):
    _SEALS = 0


def empty_file() -> int:
    """The descriptor of a new one, which whoever has it may write to."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taskloom", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile

    with tempfile.TemporaryFile(prefix="taskloom-", buffering=0) as file:
        return os.dup(file.fileno())


def sealed_file(parts: Sequence[Any]) -> int:
    """The descriptor of one that holds these buffers, one behind the other, for good."""
    fd = empty_file()
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while view.nbytes:
                view = view[os.write(fd, view[: 1 << 30]) :]
        if _SEALS:
            with contextlib.suppress(OSError):  # no memory file: nobody writes to it all the same
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
