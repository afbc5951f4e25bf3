"""A graph as a picture that a notebook shows and a file keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskloom.views.graph_boxes import Diagram, read_graph
from taskloom.views.graph_picture import as_image, picture_of, small_svg, svg

PICTURES = frozenset({".png", ".pdf", ".jpg", ".jpeg", ".gif", ".webp", ".dot", ".html"})


class GraphDrawing:
    """The picture of a graph: a notebook shows it, `str()` is its SVG text, `save` writes a file.

    Parameters
    ----------
    dsk : a graph, as `taskloom.get` takes it. With more than 300 tasks it is drawn a box per task name.

    Raises
    ------
    GraphError
        The graph cannot be run, so it cannot be drawn.
    """

    def __init__(self, dsk: Mapping[Any, Any]):
        self._picture = picture_of(Diagram(read_graph(dsk)))

    def __str__(self) -> str:
        return svg(self._picture)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._picture.diagram.graph)} tasks>"

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Where a notebook is not trusted, or exported, an SVG of its own would be left out."""
        return as_image(small_svg(self._picture), repr(self)[1:-1])

    def save(self, filename: str) -> Path:
        """Write the picture; ``.svg`` is appended where the name has another ending or none.

        Raises
        ------
        ValueError
            The ending stands for another kind of picture.
        """
        return save_svg(str(self), filename)


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
    return str(GraphDrawing(dsk))


def svg_path(filename: str) -> Path:
    """The path of a picture; ``.svg`` is appended where the name has another ending or none.

    Raises
    ------
    ValueError
        The ending stands for another kind of picture.
    """
    path = Path(filename)
    if path.suffix.lower() in PICTURES:
        raise ValueError(f"The graph is drawn as SVG: name the file {path.with_suffix('.svg').name!r}.")
    return path if path.suffix.lower() == ".svg" else path.with_name(f"{path.name}.svg")


def save_svg(text: str, filename: str) -> Path:
    """Write SVG text to `svg_path` of a name, and return that."""
    path = svg_path(filename)
    path.write_text(text, encoding="utf-8", errors="replace")
    return path
