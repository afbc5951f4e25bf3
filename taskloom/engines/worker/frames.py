"""Tracebacks on their way between processes: each frame as plain data, and as one that looks the same over here."""

from __future__ import annotations

import ast
from itertools import islice
from types import CodeType, TracebackType
from typing import NamedTuple

MOST = 100  # frames from either end of a traceback


class Frame(NamedTuple):
    """What a traceback shows of a frame."""

    file: str
    function: str
    module: str
    hidden: bool  # by `__tracebackhide__`, the one variable that travels: IPython and pytest need not show it
    line: int
    end_line: int
    column: int  # -1 where it is not known
    end_column: int


def pack_frames(trace: TracebackType | None) -> list[Frame]:
    """The frames from the user's function on; of a very deep traceback the first and the last ones."""
    while trace is not None and _module(trace).startswith("taskloom.engines.worker"):
        trace = trace.tb_next
    frames = []
    while trace is not None:
        frames.append(_packed(trace))
        trace = trace.tb_next
    return frames if len(frames) <= 2 * MOST else frames[:MOST] + frames[-MOST:]


def unpack_frames(frames: list[Frame]) -> TracebackType | None:
    """A traceback of such frames: it shows the same lines where this process knows their files, but no variables."""
    trace: TracebackType | None = None
    for frame in reversed(frames):
        last = _raised_in(frame)
        trace = TracebackType(trace, last.tb_frame, last.tb_lasti, last.tb_lineno)
    return trace


def _module(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", ""))


def _packed(trace: TracebackType) -> Frame:
    code = trace.tb_frame.f_code
    hidden = trace.tb_frame.f_locals.get("__tracebackhide__") is True
    place = next(islice(code.co_positions(), max(trace.tb_lasti, 0) // 2, None), None)
    line = trace.tb_lineno
    if place is None or place[0] != line or None in place:
        place = (line, line, -1, -1)
    return Frame(code.co_filename, code.co_name, _module(trace), hidden, *place)  # type: ignore[arg-type]


def _raised_in(frame: Frame) -> TracebackType:
    """The traceback of an exception that is raised by code which says that it is the frame's."""
    name = ast.Name("made", ast.Load())
    statement = ast.Raise(name)
    for node in (name, statement):
        node.lineno, node.end_lineno = frame.line, frame.end_line
        node.col_offset, node.end_col_offset = frame.column, frame.end_column
    code: CodeType = compile(ast.Module([statement], []), frame.file, "exec").replace(co_name=frame.function)
    made = Exception()
    variables = {"made": made, **({"__tracebackhide__": True} if frame.hidden else {})}
    try:
        exec(code, {"__name__": frame.module}, variables)
    except Exception as caught:
        trace = caught.__traceback__
        assert trace is not None
        assert trace.tb_next is not None
        return trace.tb_next
    raise AssertionError
