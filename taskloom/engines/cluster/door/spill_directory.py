"""Where a cluster has the results that go to disk: in a private directory, swept if its owner was killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from taskloom import config
from taskloom.engines.cluster.door.private import OwnDirectory, sweep_places
from taskloom.errors import ConfigError

_PREFIX = "spill-"
_LASTING = "/var/tmp"  # where a system has its /tmp in memory, it has this on disk


class SpillDirectory(OwnDirectory):
    """The directory for what a cluster has on disk, until `close`.

    Raises
    ------
    ConfigError
        There is no place for it.
    """

    def __init__(self) -> None:
        bases = _bases()
        sweep_places(_PREFIX, bases)
        super().__init__(_PREFIX, bases, setting="distributed.spill.directory")


def _bases() -> list[str]:
    """Where it may be, the best place first."""
    chosen = config.get("distributed.spill.directory")
    if chosen is None:
        places = sorted([tempfile.gettempdir(), _LASTING], key=_is_memory)
    else:
        places = [os.fspath(chosen)]
        try:
            os.makedirs(chosen, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"distributed.spill.directory: {chosen} cannot be made: {error}.") from error
    return [os.path.join(place, f"taskloom-{os.geteuid()}") for place in places]


def _is_memory(place: str) -> bool:
    """Whether what is written there stays in memory: then nothing is won."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
        kinds = {fields[1]: fields[2] for line in lines if len(fields := line.split()) > 2}
        path = Path(place).resolve()
        return next(kinds[str(at)] for at in (path, *path.parents) if str(at) in kinds) in ("tmpfs", "ramfs")
    except (OSError, StopIteration):  # no Linux
        return False
