"""Exceptions on their way between processes: with the frames they passed, without their classes' help."""

from __future__ import annotations

import pickle
import traceback
from copyreg import _slotnames  # type: ignore[attr-defined]
from types import FunctionType
from typing import Any

from taskloom.engines.worker.parcel import dumps
from taskloom.errors import SerializationError

DEEPEST = 20  # exceptions in a chain
MOST_FRAMES = 200
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
        "frames": _frames(error),
        "notes": [str(note) for note in notes] if isinstance(notes, list) else None,
        "suppress": error.__suppress_context__,
    }
    if depth:
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
        error.__dict__.update(state)
        for name, value in {"args": args, **slots}.items():
            object.__setattr__(error, name, value)  # its own may refuse, as a frozen dataclass does
    elif "whole" in parts:
        error = pickle.loads(parts["whole"])
    else:
        error = SerializationError(parts["text"])
    if parts.get("notes"):
        error.__dict__["__notes__"] = parts["notes"]
    for name in ("__context__", "__cause__"):
        if name in parts:
            object.__setattr__(error, name, _put_together(parts[name]))
    object.__setattr__(error, "__suppress_context__", parts["suppress"])
    if parts["frames"] is not None:
        from tblib import Traceback

        error = error.with_traceback(Traceback.from_dict(parts["frames"]).as_traceback())
    return error


def _frames(error: BaseException) -> dict[str, Any] | None:
    """The frames from the user's function on, as plain data; of a very deep traceback the first ones."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("taskloom.engines.worker"):
        trace = trace.tb_next
    if trace is None:
        return None
    from tblib import Traceback

    copied = last = Traceback(trace)
    for _ in range(MOST_FRAMES):
        if last.tb_next is None:
            break
        last = last.tb_next
    last.tb_next = None
    frames: dict[str, Any] = copied.to_dict()
    return frames


def _described(error: BaseException, why: BaseException) -> dict[str, Any]:
    """A stand-in for an exception that cannot travel."""
    try:
        text = "".join(traceback.format_exception(error, limit=-20))
    except Exception:
        text = f"{type(error).__name__}: (it cannot be shown)"
    return {
        "text": f"The task raised a {type(error).__qualname__} that cannot be pickled ({why!r}):\n{text}",
        "frames": None,
        "suppress": False,
    }
