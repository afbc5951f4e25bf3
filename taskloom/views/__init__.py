"""How runs look: from the run record to texts, pictures, figures and documents. Needs graph and bus only.

The functions here turn a run into a Bokeh figure, for scripts, Bokeh applications and panels, or into a file; Bokeh is
imported when the first one is called. docs/own_view.md shows how to write a view of one's own in some 30 lines.

>>> import taskloom, taskloom.views
>>> taskloom.get({"a": (abs, -1)}, "a")
1
>>> type(taskloom.views.task_stream(taskloom.last_run())).__name__
'figure'
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bokeh.models import Column
    from bokeh.plotting import figure

    from taskloom.bus import Run, RunGraph


def task_stream(run: Run) -> figure:
    """Draw a row for each worker and a bar for each task; of more than 20,000 tasks, some share a bar."""
    from taskloom.views.figures.task_stream import TaskStream

    view = TaskStream()
    view.follow(run)
    view.explain()
    return view.root


def profile(run: Run) -> figure:
    """Draw how much time each function took."""
    from taskloom.views.figures.profile import Profile

    view = Profile()
    view.follow(run)
    return view.root


def dashboard(run: Run) -> Column:
    """Draw all figures of a run, on one page."""
    from taskloom.views.figures.dashboard import Dashboard

    view = Dashboard()
    view.follow(run)
    return view.root


def graph_svg(run: Run) -> str:
    """Draw the tasks of a run and what they need, coloured by how they ended, as SVG text."""
    from taskloom.views.graph_picture import draw_run

    return draw_run(run)


def report(run: Run, path: str | os.PathLike[str]) -> None:
    """Write all views of a run to one HTML file, which needs no network: `Run.report`."""
    from taskloom.views.html_report import write

    write(run, path)


def run_card(run: Run) -> str:
    """What a notebook shows of a run, as HTML."""
    from taskloom.views import cards

    return cards.run_card(run)


def runs_card(runs: Sequence[Run]) -> str:
    """What a notebook shows of several runs, as HTML."""
    from taskloom.views import cards

    return cards.runs_card(runs)


def graph_card(graph: RunGraph) -> str:
    """What a notebook shows of a run's graph, as HTML."""
    from taskloom.views import cards

    return cards.graph_card(graph)
