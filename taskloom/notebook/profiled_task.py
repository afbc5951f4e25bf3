"""Where the time of one task goes."""

from __future__ import annotations

import cProfile
import io
import pstats

from taskloom.notebook.replayed_task import ReplayedTask

ROWS = 20


def profile(task: ReplayedTask) -> None:
    """Run a task and print a profile of it, also if it raises."""
    __tracebackhide__ = True
    try:
        import pyinstrument
    except ImportError:
        profiler = None
    else:
        profiler = pyinstrument.Profiler()
    if profiler is None:
        _profile_calls(task)
        return
    try:
        with profiler:
            task()
    finally:
        print(profiler.output_text(unicode=True, color=False))


def _profile_calls(task: ReplayedTask) -> None:
    __tracebackhide__ = True
    profiler = cProfile.Profile()
    try:
        profiler.runcall(task)
    finally:
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).sort_stats("cumulative").print_stats(ROWS)
        print(text.getvalue())
