"""A link between two processes: whole messages, with open files where they bring some.

The sockets keep message boundaries, so that a message is either sent or not, whenever an interrupt comes. One that is
too long for a packet travels in a file of anonymous memory.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Sequence
from typing import Any

PACKET = 60_000  # bytes: longer messages go into a file
MOST_FILES = 250  # per message: the kernel takes 253
_SPACE = socket.CMSG_SPACE(4 * (MOST_FILES + 2))
_PLAIN, _IN_FILE = b"\0", b"\1"


def anonymous_file(parts: Sequence[Any]) -> int:
    """A file of anonymous memory that holds these buffers, one behind the other; returns its descriptor."""
    fd = os.memfd_create("taskloom", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while view.nbytes:
                view = view[os.write(fd, view[: 1 << 30]) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


class Link:
    """One end of a link."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        """Send a message and copies of the open files.

        Raises
        ------
        BlockingIOError
            The other end is slow to take messages, and the socket is one that does not wait.
        OSError
            The other end is gone.
        """
        if len(message) <= PACKET and not files:
            self.sock.sendmsg((_PLAIN, message))
            return
        own = -1
        try:
            kind = _PLAIN
            if len(message) > PACKET:
                own = anonymous_file((message,))
                kind, message, files = _IN_FILE, b"", (*files, own)
            self.sock.sendmsg((kind, message), [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", files))])
        finally:
            if own >= 0:
                os.close(own)

    def receive(self) -> tuple[bytes, list[int]] | None:
        """The next message and its open files, or None when the other end is gone."""
        packet, ancillary, _, _ = self.sock.recvmsg(PACKET + 1, _SPACE, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return None
        files: list[int] = []
        for _, _, data in ancillary:
            files += array("i", data[: len(data) - len(data) % 4])
        if packet[:1] == _PLAIN:
            return packet[1:], files
        own = files.pop()
        try:
            size = os.fstat(own).st_size
            parts = []
            offset = 0
            while offset < size:
                parts.append(os.pread(own, min(size - offset, 1 << 30), offset))
                offset += len(parts[-1])
            return parts[0] if len(parts) == 1 else b"".join(parts), files
        finally:
            os.close(own)

    def close(self) -> None:
        self.sock.close()
