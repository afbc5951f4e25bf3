"""Whether the kernel ends processes for want of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def kills() -> int:
    """How many processes of this process's cgroup the kernel has killed since the cgroup was made; 0 if unknown."""
    file = counter()
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines() if file else ():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0


@cache
def counter() -> Path | None:
    """The file that counts them."""
    return next((file for file in _places() if file.exists()), None)


def _places() -> Iterator[Path]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # cgroup v2
                yield ROOT / path.lstrip("/") / "memory.events"
            elif "memory" in controllers.split(","):
                yield ROOT / "memory" / path.lstrip("/") / "memory.oom_control"
    yield ROOT / "memory.events"  # what a container sees of its own
    yield ROOT / "memory" / "memory.oom_control"
