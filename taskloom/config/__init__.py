"""Settings: what `set` said, the environment, files, defaults - the first of these that knows a key is in force.

The environment and the files are read when the first setting is asked for. Donfig, which parses them, is imported
only where there is something to parse. What is in force is kept as one dictionary, replaced as a whole when something
changes: reading it takes no lock, and costs a task that starts a run about 0.1 µs per key.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final

from taskloom.config.keys import KEYS, canonical, check_scheduler_names, checked, flat, known_name
from taskloom.config.outside import read_outside

__all__ = ["Assignment", "Setting", "check_scheduler_names", "defaults", "get", "refresh", "set", "setting", "source"]

_MISSING: Final = object()

defaults: Mapping[str, Any] = MappingProxyType({key.name: key.default for key in KEYS.values()})
"""The default of every key there is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in force.

    Attributes
    ----------
    value : the value.
    source : ``"set"``, ``"environment"``, ``"file <path>"``, ``"default"``, or what an `Assignment` calls itself.
    order : 0 where nobody set the key; otherwise when it was set, in nanoseconds since the epoch. It grows with every
        assignment of any key.
    """

    value: Any
    source: str
    order: int = 0


_lock = threading.RLock()
_newest = 0  # the order of the last assignment
_assigned: dict[str, list[_Entry]] = {}  # per key, oldest first
_outside: dict[str, Setting] | None = None  # files and environment; None: not read yet
_settings: dict[str, Setting] | None = None
_values: dict[str, Any] | None = None


def _new_lock_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_in_child)


def get(key: str, default: Any = _MISSING) -> Any:
    """The value in force.

    Parameters
    ----------
    key : dots, double underscores, hyphens and underscores are as in `set`. A section gives a dictionary.
    default : returned where the value is None or the key does not exist.

    Raises
    ------
    ConfigError
        There is no such key and no `default`; or the environment or a file holds something that cannot be used.

    Examples
    --------
    >>> get("notebook.progress-delay")
    0.3
    """
    values = _values
    if values is None:
        values = _in_force()[1]
    try:
        value = values[key]
    except (KeyError, TypeError):
        value = _get_slowly(key, default, values)
    return default if value is None and default is not _MISSING else value


def setting(key: str) -> Setting:
    """The value in force together with where it came from and when it was set.

    >>> setting("notebook.progress").source
    'default'
    """
    return _in_force()[0][known_name(key)]


def source(key: str) -> str:
    """Where the value in force came from: ``"set"``, ``"environment"``, ``"file <path>"`` or ``"default"``."""
    return setting(key).source


def references(value: object) -> int:
    """How many references to a value the settings have: who counts those of others leaves these out."""
    with _lock:
        found = sum(entry.setting.value is value for entries in _assigned.values() for entry in entries)
        return found + sum(known is value for known in (_values or {}).values())


def set(arg: Mapping[str, Any] | None = None, **kwargs: Any) -> Assignment:
    """Set values, for good or for a `with` block.

    Parameters
    ----------
    arg : mapping of keys to values; a dot or a nested mapping leads into a section.
    kwargs : the same as keyword arguments; a double underscore leads into a section.

    Raises
    ------
    ConfigError
        There is no such key, or the value is not of the kind the key takes. Nothing is set then.

    Examples
    --------
    >>> with set({"num-workers": 2}, notebook__progress=False):
    ...     get("num_workers"), get("notebook.progress"), source("num_workers")
    (2, False, 'set')
    >>> source("num_workers")
    'default'
    """
    return Assignment({**(arg or {}), **kwargs})


def refresh() -> None:
    """Forget what was set, and read the environment and the files again.

    Raises
    ------
    ConfigError
        A file or variable cannot be used; the message names it.
    """
    global _outside
    with _lock:
        _assigned.clear()
        _outside = None
        _forget()
    _in_force()


class Assignment:
    """Values that were set together. As a context manager, takes them back at the end of the block.

    The end of the block restores what the block's own thread changed; what other threads have set meanwhile stays.

    Parameters
    ----------
    values : mapping of keys to values, as in `set`.
    source : what `config.source` answers for them.
    """

    __slots__ = ("__weakref__", "_keys", "_order")

    def __init__(self, values: Mapping[str, Any], source: str = "set"):
        accepted = {key: checked(key, value, "") for key, value in flat(values)}
        self._keys = tuple(accepted)
        with _lock:
            self._order = _next_order()
            for key, value in accepted.items():
                entries = _assigned.setdefault(key, [])
                _prune(entries)
                entries.append(_Entry(Setting(value, source, self._order), threading.get_ident(), weakref.ref(self)))
            _forget()

    def undo(self) -> None:
        """Take these values back, and only these."""
        self._remove(lambda entry: entry.setting.order == self._order)

    def __enter__(self) -> Assignment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread = threading.get_ident()
        self._remove(
            lambda entry: (
                entry.setting.order == self._order or (entry.setting.order > self._order and entry.thread == thread)
            )
        )

    def __repr__(self) -> str:
        return f"<config.set of {', '.join(self._keys) or 'nothing'}>"

    def _remove(self, gone: Callable[[_Entry], bool]) -> None:
        with _lock:
            for key in self._keys:
                _assigned[key] = [entry for entry in _assigned.get(key, ()) if not gone(entry)]
            _forget()


def _next_order() -> int:
    """The time, made to grow."""
    global _newest
    _newest = max(_newest + 1, time.time_ns())
    return _newest


@dataclass(frozen=True, slots=True)
class _Entry:
    setting: Setting
    thread: int
    handle: weakref.ref[Assignment]

    @property
    def is_final(self) -> bool:
        """Whether it can no longer be taken back: nobody holds its assignment."""
        return self.handle() is None


def _prune(entries: list[_Entry]) -> None:
    """Drop entries that cannot come into force again, so that setting a key a million times keeps a few."""
    if all(entry.is_final for entry in entries):
        del entries[:-1]
    elif entries[-1].is_final and entries[-2].is_final and entries[-1].thread == entries[-2].thread:
        del entries[-2]  # a block's end removes either both or none


def _forget() -> None:
    global _settings, _values
    _settings = _values = None


def _in_force() -> tuple[dict[str, Setting], dict[str, Any]]:
    global _outside, _settings, _values
    settings, values = _settings, _values
    if settings is not None and values is not None:
        return settings, values
    with _lock:
        if _outside is None:
            _outside = {key: Setting(*found) for key, found in read_outside().items()}
        settings = {name: Setting(value, "default") for name, value in defaults.items()}
        settings |= _outside
        settings |= {key: entries[-1].setting for key, entries in _assigned.items() if entries}
        values = {key: setting.value for key, setting in settings.items()}
        _settings, _values = settings, values
        return settings, values


def _get_slowly(key: str, default: Any, values: dict[str, Any]) -> Any:
    name = canonical(key)
    if name in values:
        return values[name]
    section = {known[len(name) + 1 :]: value for known, value in values.items() if known.startswith(f"{name}.")}
    if section:
        return section
    return default if default is not _MISSING else values[known_name(key)]
