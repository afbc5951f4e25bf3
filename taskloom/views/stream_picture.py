"""A run as a still picture: what a saved notebook and a report keep where no script runs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from taskloom.views.bars import Bar, Bars
from taskloom.views.headline import headline
from taskloom.views.labels import one_line, short_time
from taskloom.views.lanes import HEIGHT, MOST_LANES, Lanes
from taskloom.views.moves import MOVE_COLOR, Move, moves
from taskloom.views.progress import Progress

if TYPE_CHECKING:
    from taskloom.bus import Run

WIDTH, ROW, LANE, LEFT, FOOT = 900, 24, 10, 130, 24  # pixels
MOST_BARS = 600  # one and a half pixels each
MOST_MARKS = 100  # of results that moved between workers
MOST_ROWS = 32  # workers
NARROWEST_FAILED = 4  # pixels of the bar of the task that failed: it is what people look for
INK = "#808080"  # stands on light and on dark pages


def picture_html(run: Run | None) -> str:
    """The picture with a line of text above it and the names below, as HTML without scripts.

    >>> "No run yet" in picture_html(None)
    True
    """
    text = escape(headline(run))
    if run is not None and run.status == "running":
        text += ", and was still running when this was saved"
    head = f'<div class="taskloom-dashboard" style="font-size: 13px; line-height: 20px"><div>{text}</div>'
    if run is None:
        return f"{head}</div>"
    with run.trimming:
        image = b64encode(picture_svg(run).encode("utf-8", "replace")).decode("ascii")
        state = Progress(run).state()
    mark = "" if state["exact"] else "~"
    names = "".join(
        f'<span style="margin-right: 14px; white-space: nowrap"><span style="color: {row["color"]}">&#9632;</span> '
        f"{escape(row['name'])} {mark}{row['done']:,}/{row['total']:,}</span>"
        for row in state["names"]
    )
    return (
        f'{head}<img class="taskloom-task-stream" alt="Tasks by worker over time" style="max-width: 100%" '
        f'src="data:image/svg+xml;base64,{image}"><div>{names}</div></div>'
    )


def picture_svg(run: Run) -> str:
    """The task stream as an SVG image."""
    rows = min(MOST_ROWS, max(1, len(run.workers)))
    lanes = max([min(MOST_LANES, worker.threads) for worker in run.workers], default=1)
    row_height = max(ROW, LANE * lanes)
    height = rows * row_height + FOOT
    length = run.duration or 1.0
    scale = (WIDTH - LEFT - 10) / length
    bars = Bars(run)
    places = Lanes(run)
    done = len(run.done)
    most = done if done <= MOST_BARS else max(1, MOST_BARS // rows)  # a stretch of tasks has a bar on each row
    over = [*bars.finished(0, done, most or 1), *bars.unfinished()[:100]]
    drawn = [*places.place(over), *places.place_for_now(bars.running())]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        *_axis(rows * row_height, length),
        *(
            f'<text x="{LEFT - 8}" y="{(row + 0.5) * row_height + 4:g}" text-anchor="end">'
            f"{escape(one_line(worker.name, 16))}</text>"
            for row, worker in enumerate(run.workers[:rows])
        ),
        *(_rectangle(bar, bars.color_of(bar), scale, row_height) for bar in drawn if bar.worker < rows),
        *(_mark(move, scale, row_height) for move in moves(run)[:MOST_MARKS] if move.place < rows),
        "</svg>",
    ]
    return "".join(parts)


def _axis(bottom: int, length: float) -> Iterable[str]:
    yield f'<path d="M{LEFT} {bottom + 2}H{WIDTH - 10}" stroke="{INK}"/>'
    yield f'<text x="{LEFT}" y="{bottom + 17}">0</text>'
    yield f'<text x="{WIDTH - 10}" y="{bottom + 17}" text-anchor="end">{short_time(length)}</text>'


def _rectangle(bar: Bar, color: str, scale: float, row_height: int) -> str:
    width = max(NARROWEST_FAILED if bar.status == "failed" else 0.5, (bar.stop - bar.start) * scale)
    middle, height = (bar.row + 0.5) * row_height, bar.height * row_height
    if bar.height < HEIGHT:
        height -= 1  # so that lanes tell apart
    opacity = ' opacity=".6"' if bar.status == "running" else ""
    return (
        f'<rect x="{LEFT + bar.start * scale:.1f}" y="{middle - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{color}"{opacity}/>'
    )


def _mark(move: Move, scale: float, row_height: int) -> str:
    x, y = LEFT + move.time * scale, (move.place + 0.5) * row_height
    return f'<path d="M{x - 3:.1f} {y:.1f}l3 -4l3 4l-3 4z" fill="{MOVE_COLOR}"/>'
