"""A graph as a picture: one SVG text that needs no program, no script and no network to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from taskloom.graph import compile_plan, dependencies, function_name, is_task, task_name
from taskloom.views.graph_layout import columns
from taskloom.views.labels import name_label, one_line
from taskloom.views.palette import name_colors

ROW, COLUMN_GAP, HEIGHT, MARGIN = 32, 56, 22, 12  # all lengths are in pixels
CHARACTER = 7.3  # a little more than a character of the 12 px font is wide
TEXT_LENGTH = 1000  # characters of a key that the picture keeps
PICTURES = frozenset({".png", ".pdf", ".jpg", ".jpeg", ".gif", ".webp", ".dot", ".html"})

_STYLE = """
.taskloom-graph { color: var(--jp-ui-font-color1, #222); font: 12px ui-monospace, Menlo, Consolas, monospace; }
.taskloom-graph .taskloom-edges { fill: none; stroke: currentColor; stroke-opacity: .35; }
.taskloom-graph rect { fill-opacity: .16; }
.taskloom-graph text { fill: currentColor; text-anchor: middle; dominant-baseline: central; }
@media (prefers-color-scheme: dark) { .taskloom-graph { color: var(--jp-ui-font-color1, #ddd); } }
"""


class GraphDrawing:
    """The picture of a graph: a notebook shows it, `str()` is its SVG text, `save` writes a file.

    Parameters
    ----------
    dsk : a graph, as `taskloom.get` takes it.

    Raises
    ------
    GraphError
        The graph cannot be run, so it cannot be drawn.
    """

    def __init__(self, dsk: Mapping[Any, Any]):
        self._svg = draw(dsk)

    def __str__(self) -> str:
        return self._svg

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._svg.count('<rect')} tasks>"

    def _repr_svg_(self) -> str:
        return self._svg

    def _repr_html_(self) -> str:
        """Notebooks show an SVG of its own as an image, which cannot follow their theme."""
        return f'<div style="overflow: auto; max-height: 600px">{self._svg}</div>'

    def save(self, filename: str) -> Path:
        """Write the picture; ``.svg`` is appended where the name has another ending or none.

        Raises
        ------
        ValueError
            The ending stands for another kind of picture.
        """
        path = Path(filename)
        if path.suffix.lower() in PICTURES:
            raise ValueError(f"The graph is drawn as SVG: name the file {path.with_suffix('.svg').name!r}.")
        if path.suffix.lower() != ".svg":
            path = path.with_name(f"{path.name}.svg")
        path.write_text(self._svg, encoding="utf-8")
        return path


def draw(dsk: Mapping[Any, Any]) -> str:
    """The picture of a graph as SVG text. Results are on the right; the key is the tip of each node.

    Raises
    ------
    GraphError
        The graph has a cycle, or a task in it needs a key that is missing.

    Examples
    --------
    >>> 'data-key="b"' in draw({"a": 1, "b": (abs, "a")})
    True
    """
    keys = list(dsk)
    compile_plan(dsk, keys)  # says what is wrong with a graph that cannot be run
    number = {key: node for node, key in enumerate(keys)}
    inputs = [[number[other] for other in dependencies(dsk, key)] for key in keys]
    names = [task_name(key) for key in keys]
    labels = [name_label(name) or "?" for name in names]
    colors = name_colors(names)
    width = max(40, int(max(map(len, labels), default=0) * CHARACTER) + 16)
    layers = columns(inputs)
    corner = _corners(layers, width)
    tallest = max(map(len, layers), default=1)
    total = (max(1, len(layers)) * (width + COLUMN_GAP) - COLUMN_GAP + 2 * MARGIN, tallest * ROW + 2 * MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="taskloom-graph" role="img" aria-label="Graph of {len(keys)} '
        f'tasks" width="{total[0]}" height="{total[1]}" viewBox="0 0 {total[0]} {total[1]}"><style>{_STYLE}</style>',
        f'<path class="taskloom-edges" d="{_edges(inputs, corner, width)}"/>',
    ]
    for node, key in enumerate(keys):
        x, y = corner[node]
        text = escape(_key_text(key))
        tip = f"{text} = {escape(name_label(function_name(dsk[key][0])))}(…)" if is_task(dsk[key]) else text
        color = colors[names[node]]
        parts.append(
            f'<g class="taskloom-node" data-key="{text}" data-state="waiting"><title>{tip}</title>'
            f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="6" fill="{color}" stroke="{color}"/>'
            f'<text x="{x + width / 2:g}" y="{y + HEIGHT / 2:g}">{escape(labels[node])}</text></g>'
        )
    parts.append("</svg>")
    return "\n".join(parts)


def _corners(layers: list[list[int]], width: int) -> dict[int, tuple[int, int]]:
    tallest = max(map(len, layers), default=1)
    return {
        node: (MARGIN + column * (width + COLUMN_GAP), MARGIN + int((row + (tallest - len(layer)) / 2) * ROW))
        for column, layer in enumerate(layers)
        for row, node in enumerate(layer)
    }


def _edges(inputs: list[list[int]], corner: dict[int, tuple[int, int]], width: int) -> str:
    """All edges in one path, as curves that leave and arrive level."""
    curves = []
    for node, needed in enumerate(inputs):
        end, below = corner[node][0], corner[node][1] + HEIGHT // 2
        for other in needed:
            start, above = corner[other][0] + width, corner[other][1] + HEIGHT // 2
            middle = (start + end) // 2
            curves.append(f"M{start} {above}C{middle} {above} {middle} {below} {end} {below}")
    return "".join(curves)


def _key_text(key: Any) -> str:
    return one_line(key if isinstance(key, str) else repr(key), TEXT_LENGTH)
