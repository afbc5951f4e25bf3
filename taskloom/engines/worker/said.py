"""Warnings and log records of tasks: made in a worker as its parent would, and shown and handled in the parent.

A worker has the warning filters and the logging levels of its parent as they were when the run began, or when a client
submitted what it has submitted last: what that does not want to hear is not said.
"""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import FrameType
from typing import Any

from taskloom.engines.worker.parcel import dumps, is_plain

Send = Callable[[str, bytes], None]
Filters = list[tuple[str, bytes]]  # action, and the rest as pickled
Manner = tuple[Filters, int, int, dict[str, int]]  # filters, level of the root, disabled level, other levels


# -- in the parent -----------------------------------------------------------------------------------------------------

_levels = logging.getLogger("taskloom.levels")  # what it remembers is forgotten whenever a level changes somewhere
_last: tuple[list[Any], bytes] = [], b""  # filters, and the manner with them


def manner() -> bytes:
    """What this process wants to hear, packed; the same object until that changes. Asked with each task."""
    global _last
    filters, packed = _last
    if filters == warnings.filters and getattr(_levels, "_cache", None):
        return packed
    _levels.isEnabledFor(logging.DEBUG)  # remembers that, before the levels are read
    filters = [*warnings.filters]
    now = _pack(filters)
    if now != packed:
        packed = now
    _last = filters, packed
    return packed


def _pack(filters: list[Any]) -> bytes:
    """Pickle it, but for filters of warnings that cannot be."""
    packed: Filters = []
    for action, *rest in filters:
        try:
            packed.append((action, dumps(rest)))
        except Exception:
            continue
    root = logging.root
    levels = {
        name: logger.level
        for name, logger in [*root.manager.loggerDict.items()]
        if isinstance(logger, logging.Logger) and logger.level
    }
    now: Manner = packed, root.level, root.manager.disable, levels
    return pickle.dumps(now, 5)


def common_manner(packed: Collection[bytes]) -> bytes:
    """What several processes want to hear, together: each leaves out what it does not want. None has an error raised in
    what another runs."""
    first, *others = manners = [pickle.loads(each) for each in dict.fromkeys(packed)]
    if not others:
        return next(iter(packed))
    in_all = [each for each in first[0] if all(each in other[0] for other in others)]
    in_some = [each for now in manners for each in now[0] if each[0] != "ignore" and each not in in_all]
    filters = [("ignore" if action == "ignore" else "always", rest) for action, rest in [*in_some, *in_all]]
    roots = [now[1] for now in manners]
    levels = {
        name: min(now[3].get(name, root) for now, root in zip(manners, roots, strict=True))
        for now in manners
        for name in now[3]
    }
    together: Manner = filters, min(roots), min(now[2] for now in manners), levels
    return pickle.dumps(together, 5)


def hear(what: str, payload: bytes) -> None:
    """Warn, or handle a log record, as if the task had run here."""
    said = pickle.loads(payload)
    if what == "warning":
        _warn(*said)
        return
    record = logging.makeLogRecord(said)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def as_line(what: str, payload: bytes) -> tuple[str, str]:
    """The level and the text of a warning or a log record."""
    said = pickle.loads(payload)
    if what == "warning":
        message, category, filename, lineno, _ = said
        return "WARNING", f"{filename}:{lineno}: {category.__name__}: {message}"
    record = logging.makeLogRecord(said)
    return record.levelname, logging.Formatter("%(name)s: %(message)s").format(record)


_registries: dict[str, dict[Any, Any]] = {}  # of what has been shown, by module: several workers may say the same


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, module: str) -> None:
    try:
        warnings.warn_explicit(message, category, filename, lineno, module, _registries.setdefault(module, {}))
    except Warning:  # the filters have changed: where they said so, the task itself would have raised it
        warnings.showwarning(message, category, filename, lineno)


# -- in the worker -----------------------------------------------------------------------------------------------------

_show_here = warnings.showwarning
_filters: Any = warnings.filters  # of this process: those of a task that is inside `catch_warnings` are its own
_adopted: set[str] = set()  # loggers whose levels are the parent's


def adopt(packed: bytes) -> None:
    """Warn and log from now on as the parent would."""
    filters, level, disabled, levels = pickle.loads(packed)
    _filters[:] = _unpacked(filters)
    warnings.simplefilter("default", append=True)  # as it is by itself: what has been shown may be shown once more
    logging.disable(disabled)
    logging.root.setLevel(level)
    for name in _adopted.difference(levels):
        logging.getLogger(name).setLevel(logging.NOTSET)
    _adopted.clear()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
        _adopted.add(name)


def _unpacked(filters: Filters) -> Iterator[tuple[Any, ...]]:
    for action, rest in filters:
        try:
            yield action, *pickle.loads(rest)
        except Exception:  # of a class that is not here: nobody here warns of it either
            continue


def send_what_is_said(send: Send) -> None:
    """Have warnings and log records go to the parent, and nowhere else: handlers of this process would be copies of
    the parent's."""
    global _filters
    _filters = warnings.filters
    warnings.showwarning = partial(_send_warning, send)
    for logger in [*logging.root.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    logging.root.handlers[:] = [_Sender(send)]


def say_it_here() -> None:
    """Have them appear on stderr from now on."""
    warnings.showwarning = _show_here
    logging.root.handlers.clear()


def _send_warning(
    send: Send, message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    module = _module_at(filename, lineno)
    try:
        payload = dumps((message, category, filename, lineno, module))
        pickle.loads(payload)
    except Exception:
        known = next(cls for cls in category.__mro__ if cls.__module__ == "builtins")
        payload = pickle.dumps((f"{category.__name__}: {message}", known, filename, lineno, module))
    send("warning", payload)


def _module_at(filename: str, lineno: int) -> str:
    """The name of the module that warns: a filter may be for it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            return str(frame.f_globals.get("__name__"))
        frame = frame.f_back
    return "<unknown>"


class _Sender(logging.Handler):
    """The only handler of a worker."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send("record", self._packed(record))
        except Exception:
            self.handleError(record)

    def _packed(self, record: logging.LogRecord) -> bytes:
        fields = dict(record.__dict__)
        if record.exc_info:  # tracebacks do not travel, their text does
            fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
            fields["exc_info"] = None
        try:
            payload = dumps(fields)
            pickle.loads(payload)
        except Exception:
            fields |= {"msg": record.getMessage(), "args": None}
            payload = pickle.dumps({name: value if is_plain(value) else str(value) for name, value in fields.items()})
        return payload
