"""What is said of a task whose worker process died."""

from __future__ import annotations

from collections.abc import Sequence

from taskloom.engines.processes_parts import describe
from taskloom.errors import WorkerDied


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
