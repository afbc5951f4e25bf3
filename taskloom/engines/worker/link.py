"""A link between two processes: whole messages, with open files where they bring some.

Whenever an interrupt comes, the next message that is sent or received is a whole one again.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import threading
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from taskloom.engines.worker.anonymous import sealed_file

PACKET = 60_000  # bytes: longer messages go into a file
MOST_FILES = 250  # per packet: the kernel takes 253
BUFFER = 4 << 20  # bytes that a socket holds, if the system lets it
_SPACE = 64 + 4 * (MOST_FILES + 2)  # for a message's files, with more room than any system takes
_PLAIN, _IN_FILE, _AHEAD, _BEHIND = b"\0", b"\1", b"\2", b"\3"
_TOKEN = 8  # bytes that say which files go ahead of which message
_LATER = {errno.ETOOMANYREFS, errno.ENOBUFS}  # the system has too much on its way already
_NONE = (None, b"", list[int]())
_LENGTH = struct.Struct("!Q")


class Link:
    """One end of a link, on a socket that keeps message boundaries: a message is either sent or not.

    One that is too long for a packet travels in a file of anonymous memory. Where it has more files than a packet may
    bring, most of them go ahead in packets of their own.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._going: tuple[bytes | None, bytes, list[int]] = _NONE  # a message, and what has gone ahead of it
        self._tokens = itertools.count()
        self._ahead: dict[bytes, list[int]] = {}  # files that came ahead of their messages, by token

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        """Send a message and copies of the open files.

        Raises
        ------
        BlockingIOError
            The other end is slow to take messages, and the socket is one that does not wait, or the system has too many
            files on their way. Call again with the same message, before any other.
        OSError
            The other end is gone.
        """
        if len(message) <= PACKET and not files:
            self.sock.sendmsg((_PLAIN, message))
            return
        own = -1
        try:
            kind = _PLAIN
            if len(files) > MOST_FILES:
                kind, files = self._send_ahead(message, files)
            if len(message) > PACKET:
                own = sealed_file((message,))
                kind, message, files = kind[:-1] + _IN_FILE, b"", (*files, own)
            self.sock.sendmsg((kind, message), _with(files))
            self._going = _NONE
        except OSError as error:
            if error.errno in _LATER:
                raise BlockingIOError(error.errno, error.strerror) from None
            raise
        finally:
            if own >= 0:
                os.close(own)

    def _send_ahead(self, message: bytes, files: Sequence[int]) -> tuple[bytes, Sequence[int]]:
        """Send as many files as do not fit into the packet of the message; how that begins, and its own files.

        What has gone is noted by code in C, where Python takes no interrupt; see `StreamLink`.
        """
        if self._going[0] is not message:
            self._going = (message, next(self._tokens).to_bytes(_TOKEN, "big"), [])
        _, token, sent = self._going
        while (first := len(sent) * MOST_FILES) < len(files) - MOST_FILES:
            sent.extend(map(self.sock.sendmsg, ((_AHEAD, token),), (_with(files[first : first + MOST_FILES]),)))
        return _BEHIND + token + _PLAIN, files[first:]

    def receive(self) -> tuple[bytes, list[int]] | None:
        """The next message and its open files, or None when the other end is gone.

        Raises
        ------
        OSError
            This process has no room for its files, among other reasons.
        """
        while True:
            packet, ancillary, flags, _ = self.sock.recvmsg(PACKET + 2 + _TOKEN, _SPACE, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                return None
            files = _files(ancillary)
            if flags & socket.MSG_CTRUNC:
                for file in files:
                    os.close(file)
                raise OSError(errno.EMFILE, f"{os.strerror(errno.EMFILE)}: values that came with a message are lost")
            kind = packet[:1]
            if kind == _PLAIN:
                return packet[1:], files
            if kind != _AHEAD:
                break
            self._ahead.setdefault(packet[1:], []).extend(files)
        if kind == _BEHIND:
            files = self._ahead.pop(packet[1 : 1 + _TOKEN], []) + files
            packet = packet[1 + _TOKEN :]
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
        while self._ahead:
            for file in self._ahead.popitem()[1]:
                os.close(file)


class StreamLink(Link):
    """One end of a link, on a socket that knows no messages: each comes behind its length.

    What has gone out and what has come in is noted within a single call of C code (`list.extend` over `map`), where
    Python takes no interrupt: were it lost, all further messages would be read from the wrong place. Of a message that
    was interrupted on its way the next call sends the rest first. Nothing is read beyond the end of a message, so that
    a socket with messages left always shows up in a poll.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sending = threading.Lock()
        self._out = _Outgoing(b"", ())
        self._arrived: list[tuple[bytes, list[Any], int, Any]] = []  # of the message that is coming

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        with self._sending:
            out = self._out
            if out.begun() and out.message is not message:
                out.go_on(self.sock)
            if not out.begun():
                out = self._out = _Outgoing(message, files)
            try:
                out.go_on(self.sock)
            except OSError as error:
                if error.errno in _LATER:
                    raise BlockingIOError(error.errno, error.strerror) from None
                raise

    def receive(self) -> tuple[bytes, list[int]] | None:
        arrived = self._arrived
        while (missing := _missing(arrived)) > 0:
            arrived.extend(map(self.sock.recvmsg, (min(missing, 1 << 20),), (_SPACE,)))
            if not arrived[-1][0]:
                return None
        message = b"".join([chunk for chunk, *_ in arrived])[_LENGTH.size :]
        files = [file for _, ancillary, *_ in arrived for file in _files(ancillary)]
        self._arrived = []
        for file in files:
            os.set_inheritable(file, False)
        return message, files

    def close(self) -> None:
        super().close()
        for _, ancillary, *_ in self._arrived:  # of a message that will never be whole
            for file in _files(ancillary):
                os.close(file)
        self._arrived = []


class _Outgoing:
    """A message on its way out."""

    def __init__(self, message: bytes, files: Sequence[int]) -> None:
        self.message = message
        self._packet = memoryview(_LENGTH.pack(len(message)) + message)
        self._files = [files[first : first + MOST_FILES] for first in range(0, len(files), MOST_FILES)]
        self._sent: list[int] = []

    def begun(self) -> bool:
        """Whether a part of it has gone, and another has not."""
        return 0 < sum(self._sent) < len(self._packet)

    def go_on(self, sock: socket.socket) -> None:
        """Send what has not gone yet. The files travel with the first bytes, and with one byte as many as may."""
        while (sent := sum(self._sent)) < len(self._packet):
            ancillary = _with(self._files[sent]) if sent < len(self._files) else []
            end = sent + 1 if sent < len(self._files) - 1 else len(self._packet)
            self._sent.extend(map(sock.sendmsg, ((self._packet[sent:end],),), (ancillary,)))


def _missing(arrived: Sequence[tuple[bytes, Any, Any, Any]]) -> int:
    """How many bytes of a message, or at first of its length, have not arrived yet."""
    size = sum([len(chunk) for chunk, *_ in arrived])
    if size < _LENGTH.size:
        return _LENGTH.size - size
    start = arrived[0][0]
    if len(start) < _LENGTH.size:
        start = b"".join([chunk for chunk, *_ in arrived])
    return int(_LENGTH.unpack_from(start)[0]) + _LENGTH.size - size


def _with(files: Sequence[int]) -> list[tuple[int, int, array[int]]]:
    """The part of a message that brings open files."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", files))]


def _files(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    files: list[int] = []
    for _, _, data in ancillary:
        files += array("i", data[: len(data) - len(data) % 4])
    return files


def link_pair() -> tuple[Link, Link]:
    """Both ends of a link, on the best sockets that the system has."""
    try:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except (AttributeError, OSError):
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for sock in pair:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    ours, theirs = pair
    return _link(ours), _link(theirs)


def link_on(file: int) -> Link:
    """The end of a link that has this descriptor."""
    return _link(socket.socket(fileno=file))


def _link(sock: socket.socket) -> Link:
    return StreamLink(sock) if sock.type == socket.SOCK_STREAM else Link(sock)
