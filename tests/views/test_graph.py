"""Pictures of graphs that have not run, and where their boxes stand."""

from __future__ import annotations

import re
from base64 import b64decode
from itertools import pairwise
from operator import add
from typing import Any
from xml.etree import ElementTree

import pytest

import taskloom
from taskloom.views.graph import GraphDrawing, draw
from taskloom.views.graph_boxes import COLLAPSE_ABOVE, MOST_GROUPS, MOST_MEMBERS, Diagram, key_text, read_graph
from taskloom.views.graph_layout import columns
from taskloom.views.graph_picture import LARGEST, picture_of, small_svg

SVG = "{http://www.w3.org/2000/svg}"


def nodes_of(text: str) -> list[Any]:
    picture = ElementTree.fromstring(text.encode())
    return [node for node in picture.iter(f"{SVG}g") if (node.get("class") or "").startswith("taskloom-node")]


def pipeline(n: int) -> dict[Any, Any]:
    dsk: dict[Any, Any] = {("load", i): (abs, i) for i in range(n)}
    dsk |= {("clean", i): (add, ("load", i), 1) for i in range(n)}
    return {**dsk, "total": (sum, [("clean", i) for i in range(n)])}


def test_nodes_and_edges() -> None:
    text = draw({"a": 1, "load-2": (abs, "a"), ("sum", 0): (add, "a", "load-2")})
    picture = ElementTree.fromstring(text)
    assert picture.get("class") == "taskloom-graph"
    nodes = nodes_of(text)
    assert [node.get("data-key") for node in nodes] == ["a", "load-2", "('sum', 0)"]
    assert [node.get("data-state") for node in nodes] == ["waiting"] * 3
    assert [node.find(f"{SVG}text").text for node in nodes] == ["a", "load", "sum 0"]
    assert "add" in nodes[2].find(f"{SVG}title").text
    (edges,) = picture.iter(f"{SVG}path")
    assert edges.get("d").count("M") == 3


def test_results_stand_right_of_their_inputs_and_nothing_overlaps() -> None:
    dsk = {("x", i): (add, i, 1) for i in range(40)}
    dsk |= {("y", i): (add, ("x", i), ("x", (i * 7) % 40)) for i in range(40)}
    diagram = Diagram(read_graph(dsk))
    corners = [(box.x, box.y) for box in diagram.boxes]
    assert len(set(corners)) == 80
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    assert max(xs[:40]) + diagram.box_width < min(xs[40:])
    assert len(set(ys)) < 40, "a tall column is folded"
    assert min(xs) >= 0
    assert max(xs) + diagram.box_width <= diagram.width
    assert 0 <= min(ys) < max(ys) < diagram.height


def steps(path: str) -> list[tuple[float, float]]:
    """Points along a path, close to each other."""
    found = [(0.0, 0.0)]
    for command, text in re.findall(r"([MLHCQ])([^MLHCQ]*)", path):
        numbers = [float(number) for number in text.split()]
        start = found[-1]
        if command == "H":
            numbers.append(start[1])
        corners = [start, *zip(numbers[::2], numbers[1::2], strict=True)]
        if command == "M":
            found = corners[1:]
            continue
        for step in range(1, 41):
            level = corners
            while len(level) > 1:  # de Casteljau: straight lines and curves alike
                level = [
                    (x + (next_x - x) * step / 40, y + (next_y - y) * step / 40)
                    for (x, y), (next_x, next_y) in pairwise(level)
                ]
            found += level
    return found


@pytest.mark.parametrize("shape", ["folded", "long"])
def test_edges_go_from_box_to_box_and_pass_behind_none(shape: str) -> None:
    if shape == "folded":
        dsk: dict[Any, Any] = {("x", i): (add, i, 1) for i in range(60)}
        dsk |= {("y", i): (add, ("x", i), ("x", (i * 7) % 60)) for i in range(60)}
    else:
        dsk = {("x", i): (add, ("x", i - 1), ("y", i)) if i else 0.5 for i in range(80)}
        dsk |= {("y", i): (add, 0.5, 1.5) for i in range(80)} | {"end": (add, ("x", 79), ("x", 3))}
    graph = read_graph(dsk)
    diagram = Diagram(graph)
    for end, inputs in enumerate(diagram.inputs):
        for start in inputs:
            path = steps(diagram.chain([start, end])[1])
            first, last = diagram.boxes[start], diagram.boxes[end]
            assert path[0] == (first.x + diagram.box_width, first.y + 12)
            assert path[-1] == (last.x, last.y + 12)
            for number, box in enumerate(diagram.boxes):
                assert not any(box.x < x < box.x + diagram.box_width and box.y < y < box.y + 24 for x, y in path), (
                    f"{graph.keys[start]} -> {graph.keys[end]} is drawn behind {graph.keys[number]}"
                )


@pytest.mark.parametrize("n", [50, 300, 10_000])
def test_a_chain_is_broken_into_lines_that_fit_a_page(n: int) -> None:
    diagram = Diagram(read_graph({("x", i): (abs, ("x", i - 1)) if i else -0.5 for i in range(n)}), collapsed=False)
    assert diagram.width < 5 * diagram.height
    places = [(box.y, box.x) for box in diagram.boxes]
    assert sorted(places) == places, "as a text is read"
    assert all(0 < box.x < diagram.width - diagram.box_width for box in diagram.boxes)


@pytest.mark.parametrize(
    "key",
    [
        "<img src=x onerror=alert(1)>\"'&",
        "]]><script>alert(1)</script>",
        "\x00\ud800\n\x1b[31m",
        "x" * 1_000_000,
        ("y" * 1_000_000, "z" * 1_000_000),
        ("deep", ("<b>", ("<i>", 1))),
        b"<bytes>" * 100_000,
        "\u202eright to left",
        "",
        -1.5,
    ],
    ids=map(str, range(10)),
)
def test_hostile_keys_are_short_text(key: Any) -> None:
    text = draw({key: (abs, 1), "after": (abs, key)})
    assert "<img" not in text
    assert "<script" not in text
    assert len(text) < 10_000
    assert len(nodes_of(text)) == 2
    assert len(key_text(key)) <= 200
    assert key_text(key).isprintable()


def test_an_empty_graph_is_a_picture_that_says_so() -> None:
    assert nodes_of(draw({})) == []
    assert "the graph is empty" in draw({})
    assert "0 tasks" in repr(GraphDrawing({}))


def test_a_large_graph_has_a_box_for_each_name() -> None:
    nodes = nodes_of(draw(pipeline(COLLAPSE_ABOVE)))
    assert [node.get("data-key") for node in nodes] == ["load", "clean", "total"]
    assert nodes[0].find(f"{SVG}text[@class='taskloom-count']").text == f"0/{COLLAPSE_ABOVE}"


def test_a_small_graph_is_collapsed_on_demand() -> None:
    diagram = Diagram(read_graph(pipeline(3)), collapsed=True)
    assert [(box.key, len(box.tasks), box.group) for box in diagram.boxes] == [
        ("load", 3, "load"),
        ("clean", 3, "clean"),
        ("total", 1, ""),
    ]
    assert diagram.inputs == [[], [0], [1]]


def test_an_opened_group_is_its_tasks_as_far_as_a_page_bears() -> None:
    graph = read_graph(pipeline(MOST_MEMBERS + 5))
    diagram = Diagram(graph, opened={"clean": 0})
    assert len(diagram.boxes) == 1 + MOST_MEMBERS + 1 + 1
    assert [len(box.tasks) for box in diagram.boxes if box.group] == [MOST_MEMBERS + 5, 5]
    last = graph.keys.index(("clean", MOST_MEMBERS + 4))
    assert diagram.opening("clean") == diagram.opening_at(last) == {"clean": MOST_MEMBERS}
    diagram = Diagram(graph, opened=diagram.opening("clean"))
    assert [len(box.tasks) for box in diagram.boxes if box.group] == [MOST_MEMBERS + 5, MOST_MEMBERS]
    assert diagram.boxes[diagram.box_of[last]].tasks == [last]
    assert diagram.opening("clean") == {"clean": 0}
    assert diagram.opening("load") == {"clean": MOST_MEMBERS, "load": 0}


def test_more_names_than_a_page_bears_share_a_box() -> None:
    graph = read_graph({f"{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}{i // 100}x": (abs, 1) for i in range(500)})
    boxes = Diagram(graph).boxes
    assert len(boxes) == MOST_GROUPS
    assert sum(len(box.tasks) for box in boxes) == 500


def test_groups_that_need_each_other_are_drawn() -> None:
    dsk: dict[Any, Any] = {("x", 0): (abs, 1)}
    for i in range(400):
        dsk["y", i] = (abs, ("x", i))
        dsk["x", i + 1] = (abs, ("y", i))
    diagram = Diagram(read_graph(dsk))
    assert sorted(map(sorted, diagram.inputs)) == [[0], [1]]
    assert len({(box.x, box.y) for box in diagram.boxes}) == 2


@pytest.mark.parametrize("shape", ["flat", "chain", "tree"])
def test_large_graphs_with_a_box_for_each_task(shape: str) -> None:
    n = 10_000
    dsk = {
        "flat": dict.fromkeys(range(n), (add, "one", "two")),
        "chain": {i: (add, i - 1, "one") if i else "first" for i in range(n)},
        "tree": {i: (add, 2 * i + 1, 2 * i + 2) if 2 * i + 2 < n else "leaf" for i in range(n)},
    }[shape]
    diagram = Diagram(read_graph(dsk), collapsed=False)
    assert len({(box.x, box.y) for box in diagram.boxes}) == n


def test_a_picture_that_would_be_too_large_is_collapsed_and_then_empty() -> None:
    dense = {("x", i): (abs, 1) for i in range(150)}
    dense |= {("y", i): (sum, [("x", j) for j in range(150)]) for i in range(150)}
    text = small_svg(picture_of(Diagram(read_graph(dense))))
    assert len(text) < LARGEST
    assert len(nodes_of(text)) == 2

    names = [f"{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10]}" for i in range(100)]
    dense = {("x" + name, i): (abs, 1) for name in names for i in range(2)}
    dense |= {("y" + name, i): (sum, [("x" + other, i) for other in names]) for name in names for i in range(2)}
    text = small_svg(picture_of(Diagram(read_graph(dense)), "Not run"))
    assert len(text) < LARGEST
    assert "too many" in text


def test_a_graph_that_cannot_run_is_not_drawn() -> None:
    with pytest.raises(taskloom.GraphError, match=r"'a' -> 'b' -> 'a'|'b' -> 'a' -> 'b'"):
        draw({"a": (abs, "b"), "b": (abs, "a")})


def test_layers_follow_the_longest_way_and_inputs_stand_near_their_users() -> None:
    #        0 -> 1 -> 2 -> 3,  4 -> 3
    assert columns([[], [0], [1], [2, 4], []]) == [[0], [1], [2, 4], [3]]
    with pytest.raises(ValueError, match="cycle"):
        columns([[1], [0]])


def test_crossings_are_taken_out() -> None:
    n = 10
    inputs: list[list[int]] = [[] for _ in range(n)]
    inputs += [[n - 1 - i] for i in range(n)]
    left, right = columns(inputs)
    assert [inputs[node][0] for node in right] == left


def test_drawing_in_a_notebook_and_as_a_file(tmp_path: Any) -> None:
    drawing = GraphDrawing({"a": 1, "b": (abs, "a")})
    assert repr(drawing) == "<GraphDrawing of 2 tasks>"
    image = re.search(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]+)"', drawing._repr_html_())
    assert image is not None
    assert b64decode(image[1]).decode() == str(drawing)
    assert drawing.save(str(tmp_path / "v1.2")).name == "v1.2.svg"
    assert drawing.save(str(tmp_path / "x.svg")).read_text() == str(drawing)
    with pytest.raises(ValueError, match=re.escape("'x.svg'")):
        drawing.save(str(tmp_path / "x.png"))


def test_a_collection_is_drawn_the_same_way(tmp_path: Any) -> None:
    value = taskloom.delayed(sum)([taskloom.delayed(abs)(-1)])
    drawing = value.visualize(filename=str(tmp_path / "graph"))
    assert (tmp_path / "graph.svg").read_text() == str(drawing)
    assert len(nodes_of(str(drawing))) == 2
