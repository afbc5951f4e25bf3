"""The settings there are, and which values each of them takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import Any

from taskloom.config.sizes import is_size, parse_size
from taskloom.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    default: Any
    allowed: str  # ends the sentence "... must be"
    accepts: Callable[[Any], bool]
    summary: str
    label: str = ""  # what a form calls it; empty where no form offers it
    choices: tuple[str, ...] = ()  # all the values there are, where they are few


def _is_scheduler(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, type | Mapping):
        return False
    return callable(value) or callable(getattr(value, "get", None)) or callable(getattr(value, "submit", None))


def _is_pool(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "submit", getattr(value, "apply_async", None)))


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) > 0


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _is_share(value: Any) -> bool:
    return value is False or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1)


def _is_place(value: Any) -> bool:
    return isinstance(value, str | PathLike) and os.path.isabs(value)


def _is_link(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.startswith(("http://", "https://", "/"))
        and "{port}" in value
        and "{token}" in value
    )


START_METHODS = ("spawn", "forkserver", "fork")

KEYS = {
    key.name: key
    for key in (
        Key(
            "scheduler",
            None,
            "the name of an engine, a get(dsk, keys) callable, an Executor or a Client",
            _is_scheduler,
            "What runs a graph where the call does not say; None: what the collection prefers.",
        ),
        Key(
            "num_workers",
            None,
            "a whole number, at least 1",
            _is_count,
            "How many tasks run at a time; None: as many as there are processors.",
            label="Workers",
        ),
        Key(
            "pool",
            None,
            "an Executor or a multiprocessing pool",
            _is_pool,
            "A pool of yours that runs the tasks instead of the engine's own workers.",
        ),
        Key(
            "multiprocessing.context",
            "spawn",
            "'spawn', 'forkserver' or 'fork'",
            lambda value: value in START_METHODS,
            "How worker processes are started.",
            label="Start method",
            choices=START_METHODS,
        ),
        Key(
            "multiprocessing.retries",
            3,
            "a whole number, at least 0",
            lambda value: not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 0,
            "How often a task is tried again after its worker process died.",
        ),
        Key(
            "multiprocessing.memory_limit",
            None,
            "a number of bytes above 0, a text such as '4 GiB' or '50%', or a fraction of the memory such as 0.5",
            is_size,
            "Bytes of results from which on no further data is produced before some is used; None: 70% of the memory.",
            label="Memory limit",
        ),
        Key(
            "distributed.n_workers",
            None,
            "a whole number, at least 1",
            _is_count,
            "How many workers a new cluster has; None: as many as there are processors, or fewer of several threads.",
            label="Workers",
        ),
        Key(
            "distributed.threads_per_worker",
            None,
            "a whole number, at least 1",
            _is_count,
            "How many tasks each worker of a new cluster runs at a time; None: one for each processor, in all.",
            label="Threads per worker",
        ),
        Key(
            "distributed.memory_limit",
            None,
            "a number of bytes above 0, a text such as '4 GiB' or '50%', or a fraction of the memory such as 0.5",
            is_size,
            "Memory of each worker of a new cluster for results; None: an equal share of it.",
            label="Memory limit per worker",
        ),
        Key(
            "distributed.memory.target",
            0.6,
            "a share of the memory limit above 0 and up to 1, or False for never",
            _is_share,
            "Share of its memory limit that a worker's results may take; what is more goes to disk.",
        ),
        Key(
            "distributed.memory.spill",
            0.7,
            "a share of the memory limit above 0 and up to 1, or False for never",
            _is_share,
            "Share of its memory limit from which on a worker process has results go to disk, whatever takes it.",
        ),
        Key(
            "distributed.memory.pause",
            0.8,
            "a share of the memory limit above 0 and up to 1, or False for never",
            _is_share,
            "Share of its memory limit from which on a worker is given no tasks.",
        ),
        Key(
            "distributed.memory.terminate",
            0.95,
            "a share of the memory limit above 0 and up to 1, or False for never",
            _is_share,
            "Share of its memory limit from which on a worker process is ended, and another one takes its place.",
        ),
        Key(
            "distributed.spill.directory",
            None,
            "the absolute path of a directory",
            _is_place,
            "Where a new cluster makes the private directory for results that go to disk; None: for temporary files.",
        ),
        Key(
            "distributed.spill.max_bytes",
            None,
            "a number of bytes above 0, or a text such as '4 GiB'",
            lambda value: is_size(value) and parse_size(value) > 1,
            "Bytes of results that each worker of a new cluster may have on disk; None: as many as there is room for.",
        ),
        Key(
            "distributed.no_workers_timeout",
            30.0,
            "a number of seconds, at least 0",
            _is_seconds,
            "How long a task waits for a worker that may run it, in seconds, where there is none; then it fails, or "
            "where there is no worker at all, a warning says so.",
        ),
        Key(
            "distributed.worker.env",
            None,
            "a mapping of names to values",
            lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
            "Variables of the environment of a new cluster's worker processes, beside those of this process.",
        ),
        Key(
            "distributed.worker.preload",
            None,
            "a text or a list of texts: names of modules, paths of .py files, or source code",
            lambda value: (
                isinstance(value, str)
                or (isinstance(value, list | tuple) and all(isinstance(what, str) for what in value))
            ),
            "What the workers of a new cluster load before they get tasks.",
        ),
        Key(
            "notebook.progress",
            True,
            "True or False",
            lambda value: isinstance(value, bool),
            "Whether a run draws a progress bar in the cell that started it.",
        ),
        Key(
            "notebook.progress_delay",
            0.3,
            "a number of seconds, at least 0",
            _is_seconds,
            "How long a run must last before its bar appears, in seconds.",
        ),
        Key(
            "notebook.dask",
            True,
            "True or False",
            lambda value: isinstance(value, bool),
            "Whether Dask's collections run on taskloom's engines once the extension is loaded, if Dask is installed.",
        ),
        Key(
            "notebook.dashboard_link",
            None,
            "an address that starts with 'http://', 'https://' or '/' and has {port} and {token} in it",
            _is_link,
            "Where a browser finds what %dashboard --serve serves, through a proxy; None: on this computer.",
        ),
    )
}


_check_scheduler_name: Callable[[str], object] | None = None


def check_scheduler_names(check: Callable[[str], object]) -> None:
    """Have `check` raise `ConfigError` for a name that no engine has: the layer that knows the engines calls this."""
    global _check_scheduler_name
    _check_scheduler_name = check


def canonical(key: object, where: str = "") -> str:
    if not isinstance(key, str):
        raise ConfigError(f"{where}a setting's name is a string, not {key!r}.")
    return key.replace("__", ".").replace("-", "_").lower()


def known_name(key: object, where: str = "") -> str:
    name = canonical(key, where)
    if name in KEYS:
        return name
    members = [known for known in KEYS if known.startswith(f"{name}.")]
    if members:
        raise ConfigError(f"{where}{key!r} is a section, not a setting. It holds {', '.join(members)}.")
    from difflib import get_close_matches  # a slow import that few need

    near = get_close_matches(name, KEYS, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{where}there is no setting {key!r}.{hint} The settings are {', '.join(KEYS)}.")


def checked(name: str, value: Any, where: str) -> Any:
    key = KEYS[known_name(name, where)]
    if value is None:
        return key.default
    if not key.accepts(value):
        raise ConfigError(f"{where}{key.name} must be {key.allowed}, not {value!r}.")
    if key.name == "scheduler" and isinstance(value, str) and _check_scheduler_name is not None:
        try:
            _check_scheduler_name(value)
        except ConfigError as error:
            raise ConfigError(f"{where}{error}") from None
    return value


def flat(values: Mapping[str, Any], section: str = "", where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = section + canonical(key, where)
        if isinstance(value, Mapping) and name not in KEYS:
            yield from flat(value, f"{name}.", where)
        else:
            yield known_name(name, where), value
