"""A run as one HTML file with all its figures, BokehJS included: it can be mailed, and opens without a network."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from bokeh.embed import file_html
from bokeh.resources import INLINE
from jinja2 import Template

from taskloom.bus.summary import seconds
from taskloom.views.figures.dashboard import Dashboard
from taskloom.views.graph_boxes import Diagram
from taskloom.views.graph_picture import picture_of_run, small_svg
from taskloom.views.graph_states import BoxStates
from taskloom.views.headline import headline
from taskloom.views.labels import name_label

if TYPE_CHECKING:
    from taskloom.bus import Run

MOST_BARS = 3_000  # the file stays below 3 MB
MOST_NAMES = 50  # rows of the table

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{{ title | e }}</title>
{{ bokeh_js }}
<style>
body { max-width: 1100px; margin: 24px auto; padding: 0 16px; font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 18px; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 12px 2px 0; text-align: right; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
th { border-bottom: 1px solid #8080804d; }
.taskloom-graph-frame { margin-top: 24px; overflow: auto; max-height: 640px; }
</style>
</head>
<body>
<h1>{{ title | e }}</h1>
{{ table }}
<div class="taskloom-dashboard">{{ plot_div }}</div>
<div class="taskloom-graph-frame" tabindex="0" role="region" aria-label="Graph of the run">{{ graph }}</div>
{{ plot_script }}
</body>
</html>
""")


def write(run: Run, path: str | os.PathLike[str]) -> None:
    """Write the report of a run; a run that goes on is shown as it is now."""
    dashboard = Dashboard(MOST_BARS)
    dashboard.show(run)
    page = file_html(
        dashboard.root,
        resources=INLINE,
        title=headline(run),
        template=_PAGE,
        template_variables={"table": _table(run), "graph": _graph(run)},
        suppress_callback_warning=True,
    )
    Path(path).write_text(page, encoding="utf-8", errors="replace")


def _graph(run: Run) -> str:
    """The graph as it is now, with the longest chain where the run has finished."""
    diagram = Diagram(run.graph)
    with run.trimming:
        return small_svg(picture_of_run(run, diagram, BoxStates(run, diagram).look()))


def _table(run: Run) -> str:
    """How long the tasks of each name took."""
    rows = "".join(
        f"<tr><td>{escape(name_label(row.name))}</td><td>{row.done:,}/{row.count:,}</td><td>{seconds(row.total)}</td>"
        f"<td>{seconds(row.p50)}</td><td>{seconds(row.max)}</td></tr>"
        for row in run.summary().by_name[:MOST_NAMES]
    )
    head = "<tr><th>Tasks</th><th>Done</th><th>Total</th><th>Median</th><th>Longest</th></tr>"
    return f"<table>{head}{rows}</table>"
