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
LONGEST = 1_000  # characters of a message
_MISSING = object()


class Unpicklable(Exception):
    """Stands for an exception that cannot come here itself: its type's name, its message, its traceback as text."""

    def __str__(self) -> str:
        return str(self.args[2])


def pack_error(error: BaseException) -> bytes:
    """An exception with its traceback and what it was raised from, and a description for where it cannot travel."""
    parts, why = b"", ""
    try:
        parts = pickle.dumps(_taken_apart(error, DEEPEST), 5)
    except Exception as caught:
        why = repr(caught)
    return pickle.dumps((parts, why, _described(error)), 5)


def unpack_error(packed: bytes, origin: str = "a task") -> BaseException:
    """The exception; where it cannot be pickled or unpickled, a `SerializationError` that says so of its origin."""
    parts, why, described = pickle.loads(packed)
    if parts:
        try:
            return _put_together(pickle.loads(parts))
        except Exception as caught:
            why = repr(caught)
    error = SerializationError(
        f"The exception {described[0]} of {origin} cannot be pickled, so it cannot leave its worker process ({why}). "
        f"It says: {described[1]}"
    )
    error.__cause__ = Unpicklable(*described)
    return error


def told(packed: Any) -> BaseException:
    """What stands for a packed exception where it is not unpacked, which may run code of its class."""
    return Unpicklable(*pickle.loads(packed)[2]) if isinstance(packed, bytes) else packed


def _taken_apart(error: BaseException, depth: int) -> dict[str, Any]:
    cls = type(error)
    notes = getattr(error, "__notes__", None)
    notes = [str(note) for note in notes] if isinstance(notes, list) else []
    if isinstance(error, MemoryError) and depth == DEEPEST:
        notes.append("Its worker process ran out of memory. Such a task is not tried again.")
    parts: dict[str, Any] = {
        "frames": pack_frames(error.__traceback__),
        "notes": notes,
        "suppress": error.__suppress_context__,
    }
    if depth:
        if isinstance(error, BaseExceptionGroup):
            parts["members"] = [_taken_apart(member, depth - 1) for member in error.exceptions]
        for name in ("__cause__", "__context__"):
            other = getattr(error, name)
            if other is not None:
                parts[name] = _taken_apart_or_told(other, depth - 1)
    if isinstance(cls.__init__, FunctionType) and cls.__reduce__ is BaseException.__reduce__:
        # Its own __init__ may want other arguments than `args`: it is not called again.
        state = _portable(error.__dict__, notes)
        slots = {name: value for name in _slotnames(cls) if (value := getattr(error, name, _MISSING)) is not _MISSING}
        parts["raw"] = dumps((cls, error.args, state, slots))
    else:
        # Not the exception itself: tblib, where something has installed it, would pickle the whole traceback.
        reduced = error.__reduce_ex__(5)
        if type(reduced) is tuple and len(reduced) == 3 and reduced[2] is error.__dict__:
            reduced = (*reduced[:2], _portable(error.__dict__, notes))
        parts["reduced"] = dumps(reduced)
    _made(parts)  # what cannot be unpickled is found here, where it can be described
    return parts


def _taken_apart_or_told(error: BaseException, depth: int) -> dict[str, Any]:
    """What another exception was raised from, or what stands for it where it cannot travel."""
    try:
        return _taken_apart(error, depth)
    except Exception:
        return _taken_apart(Unpicklable(*_described(error)), 0)


def _portable(attributes: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The attributes of an exception, but for those that cannot be pickled, which is noted."""
    state = {name: value for name, value in attributes.items() if name != "__notes__"}
    try:
        dumps(state)
    except Exception:
        lost = {name: why for name, value in state.items() if (why := _why_not(value))}
        for name, why in lost.items():
            notes.append(f"Its attribute {name} was left in its worker process, as it cannot be pickled: {why}")
            del state[name]
    return state


def _why_not(value: Any) -> str:
    """Why a value cannot be pickled; nothing if it can."""
    try:
        dumps(value)
    except Exception as error:
        return str(error)[:LONGEST] or repr(error)[:LONGEST]
    return ""


def _put_together(parts: dict[str, Any]) -> BaseException:
    error = _made(parts)
    _dress(error, parts)
    return error


def _made(parts: dict[str, Any]) -> BaseException:
    """The exception alone."""
    error: BaseException
    if "raw" in parts:
        cls, args, state, slots = pickle.loads(parts["raw"])
        error = cls.__new__(cls, *args)
        error.__dict__.update(state)
        for name, value in {"args": args, **slots}.items():
            object.__setattr__(error, name, value)  # its own may refuse, as a frozen dataclass does
        return error
    make, args, *rest = pickle.loads(parts["reduced"])
    error = make(*args)
    if rest and rest[0] is not None:
        error.__setstate__(rest[0])
    return error


def _dress(error: BaseException, parts: dict[str, Any]) -> None:
    """Give an exception, and the members of a group, what does not belong to their values."""
    if parts.get("notes"):
        error.__dict__["__notes__"] = parts["notes"]
    for name in ("__context__", "__cause__"):
        if name in parts:
            object.__setattr__(error, name, _put_together(parts[name]))  # its own may refuse
    object.__setattr__(error, "__suppress_context__", parts["suppress"])
    error.with_traceback(unpack_frames(parts["frames"]))
    if isinstance(error, BaseExceptionGroup):
        for member, of_member in zip(error.exceptions, parts.get("members", ()), strict=False):
            _dress(member, of_member)


def _described(error: BaseException) -> tuple[str, str, str]:
    name = type(error).__qualname__
    try:
        return name, str(error)[:LONGEST], "".join(traceback.format_exception(error, limit=-20))
    except Exception:
        return name, "(it cannot be shown)", f"{name}: (it cannot be shown)"
