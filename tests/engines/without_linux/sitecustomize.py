"""Takes away from every Python that has this folder in PYTHONPATH what Linux has and macOS has not."""

import ctypes
import errno
import fcntl
import os
import socket
from typing import Any

for module, names in (
    (os, "memfd_create pidfd_open eventfd"),
    (fcntl, "F_ADD_SEALS F_SEAL_SEAL F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE"),
    (socket, "MSG_CMSG_CLOEXEC"),
):
    for name in names.split():
        delattr(module, name)

_socketpair = socket.socketpair


def socketpair(family: int | None = None, type: int = socket.SOCK_STREAM, proto: int = 0) -> Any:
    if type == socket.SOCK_SEQPACKET:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")
    return _socketpair(family, type, proto)


class CDLL(ctypes.CDLL):
    def __getattr__(self, name: str) -> Any:
        if name == "prctl":
            raise AttributeError(name)
        return super().__getattr__(name)


socket.socketpair = socketpair
ctypes.CDLL = CDLL  # type: ignore[misc]
