"""The graph of a run, live in the cell that started it, and graphs that have not run."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import traitlets

from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.frontend import page_source
from taskloom.notebook.live_output import LiveOutput, LiveOutputs, LiveWidget
from taskloom.views.graph_boxes import MOST_MEMBERS, Diagram, key_text
from taskloom.views.graph_picture import Picture, as_image, picture_of, picture_of_run, small_svg
from taskloom.views.graph_places import HEIGHT
from taskloom.views.graph_states import STATES, BoxStates, caption, failure_text, tip
from taskloom.views.pace import Pace

if TYPE_CHECKING:
    from taskloom.bus import Run, RunGraph

MOST_LINKS = 50  # of a box, that arrow keys can follow to the left
SHARE = 0.05  # of the time, in which a graph that grows is laid out
PICTURE_EVERY = 50  # ticks between the pictures that a file saved in mid-run holds


class GraphWidget(LiveWidget):
    """Draws diagrams, of which the first follows a run: `changes` alters `states`, so that together they are complete.

    A box's value is its done tasks times the number of states plus its state; `changes` is box, value, box, value ...
    """

    _esm = page_source("viewport", "graph", suffix="js")
    _css = page_source("viewport", "graph", suffix="css")
    diagrams: traitlets.List[Any] = traitlets.List().tag(sync=True)
    states: traitlets.List[Any] = traitlets.List().tag(sync=True)
    changes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    failure = traitlets.Unicode().tag(sync=True)
    critical: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)


class GraphView:
    """Diagrams in a cell, whose groups open on click: those of graphs, or that of a run as it goes.

    Parameters
    ----------
    outputs : LiveOutputs
    graphs : dict, titles and graphs.
    run : Run, optional
        Whose graph the only one is.
    collapsed : a box per name; by default where there are more than 300 tasks.
    """

    def __init__(
        self,
        outputs: LiveOutputs,
        graphs: dict[str, RunGraph],
        run: Run | None = None,
        collapsed: bool | None = None,
    ) -> None:
        self._run = run
        self._collapsed = collapsed
        self._output = LiveOutput(outputs, GraphWidget, self._stop, self._receive)
        self._titles = list(graphs)
        self._diagrams = [Diagram(graph, collapsed=collapsed) for graph in graphs.values()]
        self._chosen: dict[int, bool] = {}  # of the diagrams that a person has collapsed or expanded as a whole
        self._kept = self._diagrams[:]  # what pictures show: no group is open
        self._kept_states = self._states = self._new_states()
        self._sent: list[int] | None = None  # the last whole `states`
        self._pace = Pace()
        self._redraw_at = 0.0
        self._ticks = 0
        self._picture: MimeBundle = {}  # the newest
        self._closed = False
        self._lock = RLock()  # clicks come in another thread than ticks

    def draw(self) -> None:
        """Show how far the run is; the first call puts the diagram there."""
        with self._lock:
            if not self._closed:
                if perf_counter() >= self._redraw_at:
                    self._grow()
                picture = self._new_picture() if self._ticks % PICTURE_EVERY == 0 else None
                self._ticks += 1
                self._output.show(picture, running=True, **self._news())

    def rest(self) -> None:
        """Show all there is to know when nothing more will happen."""
        with self._lock:
            if not self._closed:
                self._grow()
                done = {"running": False, "stopping": False, "critical": self._critical()}
                self._output.show(self._new_picture(), **done, **self._news())

    def close(self) -> None:
        """Leave a picture in the widget's place."""
        with self._lock:
            self._closed = True
            self._output.finish(self._picture)

    def pictures(self) -> list[Picture]:
        """What is kept: nothing in it is open."""
        if self._run is not None and self._kept_states is not None:
            return [picture_of_run(self._run, self._kept[0], self._kept_states.look())]
        return [
            picture_of(diagram, f"{title} · {len(diagram.graph):,} {diagram.layers.unit}")
            for title, diagram in zip(self._titles, self._kept, strict=True)
        ]

    def _grow(self) -> None:
        """Lay the diagram out anew where the run has got more tasks, in a small share of the time."""
        run, diagram = self._run, self._diagrams[0]
        if run is None or run.graph is not diagram.graph or len(run.graph) == len(diagram.box_of):
            return
        begun = perf_counter()
        self._kept = [Diagram(run.graph, collapsed=self._collapsed)]
        is_changed = diagram.opened or self._chosen
        self._diagrams = [self._laid_out(0, diagram.opened)] if is_changed else self._kept[:]
        self._kept_states = BoxStates(run, self._kept[0])
        self._states, self._sent = self._new_states(), None
        now = perf_counter()
        self._redraw_at = now + (now - begun) / SHARE

    def _stop(self) -> None:
        if self._run is not None:
            self._run.cancel()

    def _new_states(self) -> BoxStates | None:
        return None if self._run is None else BoxStates(self._run, self._diagrams[0])

    def _news(self) -> dict[str, Any]:
        """What to send: at first all."""
        drawn = self._drawn() if self._sent is None else {}
        return {**drawn, **self._look()}

    def _look(self) -> dict[str, Any]:
        """What to send of the run: what has changed since the last whole, or a whole where much has."""
        if self._run is None or self._states is None:
            self._sent = []
            return {}
        progress = self._states.look()
        values = [done * len(STATES) + state for state, done in zip(progress["states"], progress["done"], strict=True)]
        texts = {"caption": caption(self._run, self._pace), "failure": failure_text(self._run)}
        if self._sent is not None:
            pairs = enumerate(zip(self._sent, values, strict=True))
            changes = [part for box, (old, new) in pairs if old != new for part in (box, new)]
            if len(changes) < len(values):
                return {"changes": changes, **texts}
        self._sent = values
        return {"states": values, "changes": [], **texts}

    def _drawn(self) -> dict[str, Any]:
        return {
            "diagrams": [
                {
                    "title": title,
                    "tasks": len(diagram.graph),
                    "unit": diagram.layers.unit,
                    "size": [diagram.width, diagram.height],
                    "box": [diagram.box_width, HEIGHT],
                    "edges": diagram.edges(),
                    "inputs": [needed[:MOST_LINKS] for needed in diagram.inputs],
                    "boxes": [[b.key, b.label, b.color, b.x, b.y, len(b.tasks), b.group] for b in diagram.boxes],
                    "can_collapse": bool(diagram.opened) or diagram.can_collapse,
                    "can_expand": diagram.collapsed and len(diagram.boxes) < len(diagram.box_of) <= MOST_MEMBERS,
                }
                for title, diagram in zip(self._titles, self._diagrams, strict=True)
            ]
        }

    def _critical(self) -> dict[str, Any]:
        if self._run is None or self._run.status != "finished":
            return {}
        boxes, path = self._diagrams[0].chain(self._run.critical_path())
        return {"boxes": boxes, "path": path}

    def _new_picture(self) -> MimeBundle:
        pictures = self.pictures()
        lines = [f"Graph of {p.title}{': ' if p.failure else ''}{p.failure}" for p in pictures]
        images = [as_image(small_svg(picture), line) for picture, line in zip(pictures, lines, strict=True)]
        self._picture = {"text/html": "\n".join(images), "text/plain": "\n".join(lines)}
        return self._picture

    def _receive(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        with self._lock:
            if self._closed:
                return
            number = content.get("diagram", 0)
            match content.get("type"):
                case "tip":
                    lines = tip(self._diagrams[number], content["box"], self._run)
                    self._output.send({"type": "tip", "diagram": number, "box": content["box"], "lines": lines})
                case "open":
                    self._redraw(number, self._diagrams[number].opening(content["group"]))
                case "collapse" | "expand" as wanted:
                    self._chosen[number] = wanted == "collapse"
                    self._redraw(number, {})
                case "find":
                    self._find(number, str(content["text"]))

    def _redraw(self, number: int, opened: Mapping[str, int]) -> None:
        self._diagrams[number] = self._laid_out(number, opened)
        self._states, self._sent = self._new_states(), None
        self._output.show(**self._news(), critical=self._critical())

    def _laid_out(self, number: int, opened: Mapping[str, int]) -> Diagram:
        graph = self._diagrams[number].graph if self._run is None else self._run.graph  # old runs lose rows of it
        return Diagram(graph, opened, self._chosen.get(number, self._collapsed))

    def _find(self, number: int, text: str) -> None:
        """Open the group that holds the first task with this text in its key, or say that there is none."""
        diagram = self._diagrams[number]
        keys = diagram.graph.keys
        hidden = (task for box in diagram.boxes if box.group for task in box.tasks)
        task = next((task for task in hidden if text.lower() in key_text(keys[task]).lower()), None)
        if task is None:
            self._output.send({"type": "found", "diagram": number, "note": "no task matches"})
        else:
            self._redraw(number, diagram.opening_at(task))
