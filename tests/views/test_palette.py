"""Colours: one task name, one colour, in every view of a run."""

import taskloom
from taskloom.views.bars import Bars
from taskloom.views.graph_boxes import Diagram
from taskloom.views.palette import colors_by_name
from taskloom.views.progress import progress_state


def test_every_view_of_a_run_gives_a_name_the_same_colour() -> None:
    names = ["read", "select", "resample", "as_table", "concat", "plot"]
    graph = {(name, i): (abs, i) for name, n in zip(names, (1, 36, 36, 3, 1, 2), strict=True) for i in range(n)}
    taskloom.get(graph, list(graph))
    run = taskloom.last_run()
    assert run is not None
    colors = colors_by_name(run.graph.keys)
    assert set(colors) == set(names)
    assert len(set(colors.values())) == len(names)
    assert {row["name"]: row["color"] for row in progress_state(run)["names"]} == colors
    assert {name: Bars(run).color(name) for name in names} == colors
    boxes = Diagram(run.graph).boxes
    assert [box.color for box in boxes] == [colors[name] for name, _ in run.graph.keys]
