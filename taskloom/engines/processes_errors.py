"""What is said of a task whose worker process died, or that cannot travel between processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskloom.errors import SerializationError, WorkerDied
from taskloom.graph import function_name


def describe(key: object) -> str:
    """A key, cut to length."""
    text = repr(key)
    return text if len(text) <= 200 else f"{text[:150]} ... {text[-40:]}"


def function_stays(key: object, function: Any, error: BaseException) -> SerializationError:
    """The error for a function that cannot be pickled."""
    return SerializationError(
        f"The function {function_name(function)} of task {describe(key)} cannot be pickled, so no worker process can "
        f"run it: {error}"
    )


def argument_stays(key: object, value: Any, error: BaseException) -> SerializationError:
    """The error for an argument that cannot be pickled."""
    return SerializationError(
        f"An argument of task {describe(key)}, of type {type(value).__name__}, cannot be pickled, so no worker process "
        f"can have it: {error}"
    )


def result_stays(key: object, error: BaseException) -> SerializationError:
    """The error for a result that cannot be pickled there, or not be unpickled here."""
    return SerializationError(
        f"The result of task {describe(key)} cannot be pickled, so it cannot leave its worker process: {error}"
    )


def input_stays(key: object, input_key: object, error: BaseException) -> SerializationError:
    """The error for a task that runs nowhere, as an input cannot be pickled and others are elsewhere."""
    stays = SerializationError(
        f"Task {describe(key)} cannot run: the result of {describe(input_key)}, which it takes, cannot be pickled, so "
        f"it cannot leave its worker process, and other inputs are not there: {error}"
    )
    stays.__cause__ = error
    return stays


def died(key: object, fate: str, tries: int, last_lines: Sequence[str], out_of_memory: bool) -> WorkerDied:
    """The error for a task that is not tried again."""
    if out_of_memory:
        return WorkerDied(
            f"Task {describe(key)} ran out of memory: the kernel killed its worker process. It is not tried again, as "
            f"it would take as much again: have it make smaller pieces, or use fewer workers.{_quoted(last_lines)}"
        )
    times = "once" if tries == 1 else f"{tries} times"
    return WorkerDied(
        f"Task {describe(key)} was tried {times}, and each time its worker process died; the last one {fate}."
        + _quoted(last_lines)
    )


def died_idle(fate: str, last_lines: Sequence[str]) -> WorkerDied:
    """The error for workers that do not live long enough to run a task."""
    return WorkerDied(f"Worker processes die outside of any task; the last one {fate}.{_quoted(last_lines)}")


def _quoted(lines: Sequence[str]) -> str:
    return "\nIts last lines on stderr:\n" + "\n".join(line[:500] for line in lines) if lines else ""
