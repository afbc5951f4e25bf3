"""What a notebook shows of a run, a list of runs, a graph or a delayed value that is a cell's last line.

HTML that needs neither script nor style sheet, is safe whatever the keys are, stands on light and on dark pages, and
takes no longer for a million tasks: of many, it gives the counts that are known anyhow.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from taskloom.bus.summary import seconds
from taskloom.views.graph_boxes import Diagram
from taskloom.views.graph_picture import as_image, picture_of, svg
from taskloom.views.headline import WORDS
from taskloom.views.labels import error_label, key_label, name_label
from taskloom.views.palette import FAILED_COLOR, NAME_COLORS, colors_of
from taskloom.views.stream_picture import picture_svg

if TYPE_CHECKING:
    from taskloom.bus import Run, RunGraph

MOST_TASKS = 20_000  # of which figures are computed, and a picture is made
MOST_BOXES = 60  # tasks of a graph that is drawn
MOST_NAMES = 12

_ROOT = "font-size:13px;line-height:20px;padding:2px 0;"
_TABLE = "border-collapse:collapse;margin:0;font-size:13px;font-variant-numeric:tabular-nums;"
_CELL = "padding:1px 16px 1px 0;text-align:left;border:0;vertical-align:top;"
_MUTED = "opacity:0.75;"
_STATUS = {"finished": NAME_COLORS[2], "failed": FAILED_COLOR, "cancelled": NAME_COLORS[1], "running": NAME_COLORS[0]}


def run_card(run: Run) -> str:
    """A run: what it did, in figures and as a picture.

    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> "finished" in run_card(taskloom.last_run())
    True
    """
    facts = [
        ("Status", f"{_mark(run)} {WORDS[run.status]}"),
        ("Engine", f"{escape(name_label(run.engine))}, {_count(len(run.workers), 'worker')}"),
        ("Tasks", f"{run.n_done:,} of {run.n_tasks:,} done"),
        ("Time", seconds(run.duration)),
    ]
    if run.failure is not None:
        failure = f"{key_label(run.failure.key)}: {error_label(run.failure.exception)}"
        facts.insert(1, ("Failed at", escape(failure)))
        if run.n_failed > 1:
            facts.insert(1, ("Failed", f"{run.n_failed:,} tasks"))
    if len(run.start) > MOST_TASKS:
        note = "Figures of this many tasks take a moment: run.summary(), taskloom.views.task_stream(run)."
        return _card(f"Run {run.id}", _facts(facts), _note(note))
    summary = run.summary()
    facts += [
        ("Parallelism", f"{summary.parallelism:.2f} tasks at a time, workers idle {summary.idle:.0%}"),
        ("Longest chain", f"{seconds(summary.critical_path)} of dependent tasks"),
    ]
    return _card(f"Run {run.id}", _facts(facts), _picture(run), _legend(run.graph))


def runs_card(runs: Sequence[Run]) -> str:
    """The last runs, newest last, a row each.

    >>> "no runs yet" in runs_card([])
    True
    """
    if not runs:
        return _card("Runs", _note("There are no runs yet."))
    head = "".join(f"<th scope='col' style='{_CELL}'>{name}</th>" for name in ("Run", "Engine", "Tasks", "Time", ""))
    rows = "".join(
        f"<tr>{_cells([str(run.id), escape(name_label(run.engine)), f'{run.n_done:,}/{run.n_tasks:,}'])}"
        f"{_cells([seconds(run.duration), _ending(run)])}</tr>"
        for run in runs
    )
    return _card(_count(len(runs), "run"), f"<table style='{_TABLE}'><tr>{head}</tr>{rows}</table>")


def graph_card(graph: RunGraph) -> str:
    """The graph of a run: how many tasks of which names, and a picture where it is small.

    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> "Graph of 1 task" in graph_card(taskloom.last_run().graph)
    True
    """
    size = len(graph)
    title = f"Graph of {_count(size, 'task')}"
    if size <= MOST_BOXES:
        return _card(title, as_image(svg(picture_of(Diagram(graph))), title) if size else "")
    return _card(title, _legend(graph), _note("%%graph or taskloom.visualize draws it."))


def delayed_card(key: Any, function: str, tasks: int, more: bool) -> str:
    """A value that is not computed: how many tasks stand before it; `more` says that there are even more.

    >>> "3 tasks" in delayed_card("total", "sum", 3, False)
    True
    """
    count = f"more than {tasks:,} tasks" if more else _count(tasks, "task")
    facts = [("Key", escape(key_label(key))), ("Function", escape(name_label(function))), ("Graph", count)]
    facts = [fact for fact in facts if fact[1]]
    return _card("Delayed value", _facts(facts), _note("Not computed yet: .compute() does, .visualize() draws it."))


def _card(title: str, *parts: str) -> str:
    return f"<div class='taskloom-card' style='{_ROOT}'><div><b>{escape(title)}</b></div>{''.join(parts)}</div>"


def _picture(run: Run) -> str:
    image = b64encode(picture_svg(run).encode("utf-8", "replace")).decode("ascii")
    return f"<img alt='Tasks by worker over time' style='max-width:100%;' src='data:image/svg+xml;base64,{image}'>"


def _legend(graph: RunGraph) -> str:
    """The task names and their colours; of a large graph a sample is looked at."""
    names = colors_of(graph)
    shown = "".join(
        f"<span style='margin-right:14px;white-space:nowrap;'><span aria-hidden='true' style='color:{color};'>"
        f"&#9632;</span> {escape(name_label(name))}</span>"
        for name, color in list(names.items())[:MOST_NAMES]
    )
    more = f"and {len(names) - MOST_NAMES:,} more names" if len(names) > MOST_NAMES else ""
    return f"<div>{shown}{more}</div>"


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f"<tr><th scope='row' style='{_CELL}{_MUTED}font-weight:normal;'>{name}</th>"
        f"<td style='{_CELL}overflow-wrap:anywhere;'>{value}</td></tr>"
        for name, value in facts
    )
    return f"<table style='{_TABLE}'>{rows}</table>"


def _cells(values: Iterable[str]) -> str:
    return "".join(f"<td style='{_CELL}'>{value}</td>" for value in values)


def _note(text: str) -> str:
    return f"<div style='{_MUTED}font-size:12px;'>{escape(text)}</div>"


def _ending(run: Run) -> str:
    at = f" at {escape(key_label(run.failure.key))}" if run.failure is not None else ""
    return f"{_mark(run)} {WORDS[run.status]}{at}"


def _mark(run: Run) -> str:
    return f"<span aria-hidden='true' style='color:{_STATUS[run.status]};'>&#9679;</span>"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
