"""Exceptions on their way between processes: with the frames they passed, without their classes' help."""

from __future__ import annotations

import pickle
import traceback
from copyreg import _slotnames  # type: ignore[attr-defined]
from types import FunctionType
from typing import Any

from taskloom.engines.worker.frames import pack_frames, unpack_frames
from taskloom.engines.worker.parcel import dumps
from taskloom.errors import SerializationError

DEEPEST = 20  # exceptions in a chain
_MISSING = object()


def pack_error(error: BaseException) -> bytes:
    """An exception with its traceback and what it was raised from; where it cannot be pickled, a description."""
    try:
        return pickle.dumps(_taken_apart(error, DEEPEST), 5)
    except RecursionError as caught:
        return pickle.dumps(_described(error, caught), 5)
    except Exception as caught:
        return pickle.dumps(_described(error, caught), 5)


def unpack_error(packed: bytes) -> BaseException:
    try:
        return _put_together(pickle.loads(packed))
    except Exception as caught:
        return SerializationError(f"The exception of the task cannot be unpickled here: {caught!r}")


def _taken_apart(error: BaseException, depth: int) -> dict[str, Any]:
    cls = type(error)
    notes = getattr(error, "__notes__", None)
    parts: dict[str, Any] = {
        "frames": pack_frames(error.__traceback__),
        "notes": [str(note) for note in notes] if isinstance(notes, list) else None,
        "suppress": error.__suppress_context__,
    }
    if depth:
        if isinstance(error, BaseExceptionGroup):
            parts["members"] = [_taken_apart(member, depth - 1) for member in error.exceptions]
        for name in ("__cause__", "__context__"):
            other = getattr(error, name)
            if other is not None:
                parts[name] = _taken_apart(other, depth - 1)
    if isinstance(cls.__init__, FunctionType) and cls.__reduce__ is BaseException.__reduce__:
        # Its own __init__ may want other arguments than `args`: it is not called again.
        state = dict(error.__dict__)
        state.pop("__notes__", None)
        slots = {name: value for name in _slotnames(cls) if (value := getattr(error, name, _MISSING)) is not _MISSING}
        parts["raw"] = dumps((cls, error.args, state, slots))
    else:
        parts["whole"] = dumps(error)
    pickle.loads(
        parts.get("whole") or parts["raw"]
    )  # what cannot be unpickled is found here, where it can be described
    return parts


def _put_together(parts: dict[str, Any]) -> BaseException:
    error: BaseException
    if "raw" in parts:
        cls, args, state, slots = pickle.loads(parts["raw"])
        error = cls.__new__(cls, *args)
        error.args = args
        error.__dict__.update(state)
        for name, value in slots.items():
            object.__setattr__(error, name, value)
    elif "whole" in parts:
        error = pickle.loads(parts["whole"])
    else:
        error = SerializationError(parts["text"])
    _dress(error, parts)
    return error


def _dress(error: BaseException, parts: dict[str, Any]) -> None:
    """Give an exception, and the members of a group, what does not belong to their values."""
    if parts.get("notes"):
        error.__dict__["__notes__"] = parts["notes"]
    for name in ("__context__", "__cause__"):
        if name in parts:
            setattr(error, name, _put_together(parts[name]))
    error.__suppress_context__ = parts["suppress"]
    error.__traceback__ = unpack_frames(parts["frames"])
    if isinstance(error, BaseExceptionGroup):
        for member, of_member in zip(error.exceptions, parts.get("members", ()), strict=False):
            _dress(member, of_member)


def _described(error: BaseException, why: BaseException) -> dict[str, Any]:
    """A stand-in for an exception that cannot travel."""
    try:
        text = "".join(traceback.format_exception(error, limit=-20))
    except Exception:
        text = f"{type(error).__name__}: (it cannot be shown)"
    return {
        "text": f"The task raised a {type(error).__qualname__} that cannot be pickled ({why!r}):\n{text}",
        "frames": [],
        "suppress": False,
    }
