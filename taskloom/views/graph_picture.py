"""A diagram as a still picture: SVG text that needs no program, no script and no network, light or dark as the page."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import NamedTuple

from taskloom.bus import Run
from taskloom.views.graph_boxes import Diagram
from taskloom.views.graph_places import HEIGHT
from taskloom.views.graph_states import STATES, BoxStates, Progress, caption, failure_text, not_run

LARGEST = 220_000  # bytes of SVG: what a saved notebook holds of it is a third more
EMPTY = "the graph is empty: there is no task in it"
_HEAD = 26  # pixels for a line of text

STYLE = """
.taskloom-graph { color: #222; font: 12px ui-monospace, Menlo, Consolas, monospace; }
.taskloom-graph .taskloom-page { fill: #fff; }
.taskloom-graph .taskloom-edges { fill: none; stroke: #808080; stroke-opacity: .55; }
.taskloom-graph .taskloom-chain { fill: none; stroke: #d55e00; stroke-width: 2.5; }
.taskloom-graph .taskloom-box { fill: #fff; stroke: #9a9a9a; }
.taskloom-graph .taskloom-fill { fill: #009e73; fill-opacity: .22; }
.taskloom-graph text { fill: currentColor; dominant-baseline: central; }
.taskloom-graph .taskloom-count { text-anchor: end; fill-opacity: .75; }
.taskloom-graph .taskloom-failure { fill: #c62828; font-weight: 600; }
[data-state=ready] .taskloom-box { stroke: #c79100; fill: #fff6d8; }
[data-state=running] .taskloom-box { stroke: #0072b2; fill: #d6ebfa; stroke-width: 2; }
[data-state=finished] .taskloom-box { stroke: #00805d; fill: #dcf3ea; }
[data-state=failed] .taskloom-box { stroke: #c62828; fill: #fbdcd9; stroke-width: 2; }
.taskloom-critical .taskloom-box { stroke: #d55e00; stroke-width: 2.5; }
@media (prefers-color-scheme: dark) {
  .taskloom-graph { color: #e4e4e4; }
  .taskloom-graph .taskloom-page { fill: #111; }
  .taskloom-graph .taskloom-box { fill: #1c1c1c; stroke: #777; }
  .taskloom-graph .taskloom-failure { fill: #ff8a80; }
  [data-state=ready] .taskloom-box { stroke: #d9a400; fill: #3a3010; }
  [data-state=running] .taskloom-box { stroke: #56b4e9; fill: #10344c; }
  [data-state=finished] .taskloom-box { stroke: #2fb58d; fill: #12382c; }
  [data-state=failed] .taskloom-box { stroke: #ff6f61; fill: #4a1714; }
  .taskloom-critical .taskloom-box { stroke: #ff9040; }
}
"""


class Picture(NamedTuple):
    """A diagram with all that is shown of it."""

    diagram: Diagram
    progress: Progress
    title: str = ""
    failure: str = ""
    critical: tuple[list[int], str] = ([], "")


def picture_of(diagram: Diagram, title: str = "") -> Picture:
    """The picture of a graph that has not run."""
    return Picture(diagram, not_run(diagram), _title(diagram, title))


def picture_of_run(run: Run, diagram: Diagram, progress: Progress) -> Picture:
    """The picture of a run at one look at it, see `BoxStates`; the longest chain is known once it has finished."""
    critical = diagram.chain(run.critical_path()) if run.status == "finished" else ([], "")
    return Picture(diagram, progress, _title(diagram, caption(run)), failure_text(run), critical)


def _title(diagram: Diagram, title: str) -> str:
    """Says why there is nothing to see."""
    return title if diagram.boxes else " · ".join(filter(None, [title, EMPTY]))


def draw_run(run: Run, collapsed: bool | None = None) -> str:
    """The picture of a run as it is now, as SVG text.

    Parameters
    ----------
    run : Run
    collapsed : draw a box per name; by default where there are more than 300 tasks.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> 'data-key="a" data-state="finished"' in draw_run(taskloom.last_run())
    True
    """
    diagram = Diagram(run.graph, collapsed=collapsed)
    return svg(picture_of_run(run, diagram, BoxStates(run, diagram).look()))


def svg(picture: Picture) -> str:
    """The picture as SVG text."""
    diagram, progress = picture.diagram, picture.progress
    heads = [(picture.title, ""), (picture.failure, ' class="taskloom-failure"')]
    heads = [(text, kind) for text, kind in heads if text]
    top = len(heads) * _HEAD
    width = max([diagram.width] + [int(len(text) * 7.4) + 28 for text, _ in heads])
    height = diagram.height + top
    count = f"Graph of {len(diagram.graph):,} {diagram.layers.unit}"
    critical = set(picture.critical[0])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="taskloom-graph" role="img" aria-label="{count}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"><style>{STYLE}</style>'
        f'<rect class="taskloom-page" width="{width}" height="{height}" rx="6"/>'
    ]
    parts += [
        f'<text{kind} x="14" y="{line * _HEAD + 20}">{escape(text)}</text>' for line, (text, kind) in enumerate(heads)
    ]
    parts.append(f'<g transform="translate(0 {top})"><path class="taskloom-edges" d="{diagram.edges()}"/>')
    if picture.critical[1]:
        parts.append(f'<path class="taskloom-chain" d="{picture.critical[1]}"/>')
    parts += [
        _box(diagram, number, STATES[progress["states"][number]], progress["done"][number], number in critical)
        for number in range(len(diagram.boxes))
    ]
    parts.append("</g></svg>")
    return "\n".join(parts)


def _box(diagram: Diagram, number: int, state: str, done: int, critical: bool) -> str:
    box, width = diagram.boxes[number], diagram.box_width
    key = escape(box.key)
    about = escape("".join([f"\n{line}" for line in diagram.about(number)]))
    total = len(box.tasks)
    middle = box.y + HEIGHT / 2
    parts = [
        f'<g class="taskloom-node{" taskloom-critical" if critical else ""}" data-key="{key}" data-state="{state}">'
        f"<title>{key if total == 1 else f'{key}: {done:,} of {total:,} tasks done'}{_call(diagram, number)}"
        f"{about}</title>"
        f'<rect class="taskloom-box" x="{box.x}" y="{box.y}" width="{width}" height="{HEIGHT}" rx="5"/>'
    ]
    if total > 1 and 0 < done < total:
        share = int(width * done / total)
        parts.append(f'<rect class="taskloom-fill" x="{box.x}" y="{box.y}" width="{share}" height="{HEIGHT}" rx="5"/>')
    parts.append(
        f'<rect x="{box.x + 4}" y="{box.y + 4}" width="4" height="{HEIGHT - 8}" rx="2" fill="{box.color}"/>'
        f'<text x="{box.x + 14}" y="{middle:g}">{escape(box.label)}</text>'
    )
    if box.group:
        parts.append(f'<text class="taskloom-count" x="{box.x + width - 8}" y="{middle:g}">{done:,}/{total:,}</text>')
    parts.append("</g>")
    return "".join(parts)


def _call(diagram: Diagram, number: int) -> str:
    tasks = diagram.boxes[number].tasks
    function = diagram.graph.functions[tasks[0]] if len(tasks) == 1 else ""
    return f" = {escape(function[:40])}(…)" if function else ""


def small_svg(picture: Picture) -> str:
    """The picture as SVG text, collapsed where it would be too large for a file that is kept."""
    text = svg(picture)
    if len(text.encode("utf-8", "replace")) <= LARGEST:
        return text
    diagram = Diagram(picture.diagram.graph, collapsed=True)
    progress = _regrouped(picture, diagram)
    small = svg(Picture(diagram, progress, picture.title, picture.failure))
    if len(small.encode("utf-8", "replace")) <= LARGEST:
        return small
    note = f"{len(diagram.graph):,} tasks with too many names and edges for a picture."
    empty = Diagram(diagram.graph.select([]))
    return svg(Picture(empty, not_run(empty), f"{picture.title} · {note}" if picture.title else note, picture.failure))


def _regrouped(picture: Picture, diagram: Diagram) -> Progress:
    """The same progress for another diagram of the same graph."""
    old, progress = picture.diagram, picture.progress
    states: list[int] = []
    done: list[int] = []
    for box in diagram.boxes:
        inside = dict.fromkeys(old.box_of[task] for task in box.tasks)
        done.append(sum(progress["done"][number] for number in inside))
        found = {progress["states"][number] for number in inside}
        states.append(found.pop() if len(found) == 1 else max(found - {STATES.index("finished")}))
    return {"states": states, "done": done}


def as_image(text: str, description: str) -> str:
    """HTML that shows SVG text, also in a notebook that is not trusted: there no `<svg>` of its own is allowed."""
    data = b64encode(text.encode("utf-8", "replace")).decode()
    return (
        '<div class="taskloom-graph" style="overflow:auto;max-height:600px;max-width:100%">'
        f'<img alt="{escape(description)}" style="max-width:none" src="data:image/svg+xml;base64,{data}"></div>'
    )
