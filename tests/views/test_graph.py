from __future__ import annotations

import re
from operator import add
from xml.etree import ElementTree

import pytest

import taskloom
from taskloom.views.graph import GraphDrawing, draw
from taskloom.views.graph_layout import columns

SVG = "{http://www.w3.org/2000/svg}"


def test_nodes_and_edges():
    picture = ElementTree.fromstring(draw({"a": 1, "load-2": (abs, "a"), ("sum", 0): (add, "a", "load-2")}))
    assert picture.get("class") == "taskloom-graph"
    nodes = [node for node in picture.iter(f"{SVG}g") if node.get("class") == "taskloom-node"]
    assert [node.get("data-key") for node in nodes] == ["a", "load-2", "('sum', 0)"]
    assert [node.get("data-state") for node in nodes] == ["waiting"] * 3
    assert [node.find(f"{SVG}text").text for node in nodes] == ["a", "load", "sum"]
    assert "add" in nodes[2].find(f"{SVG}title").text
    (edges,) = picture.iter(f"{SVG}path")
    assert edges.get("d").count("M") == 3


def test_results_stand_right_of_their_inputs_and_nothing_overlaps():
    dsk = {("x", i): (add, i, 1) for i in range(20)}
    dsk |= {("y", i): (add, ("x", i), ("x", (i * 7) % 20)) for i in range(20)}
    picture = ElementTree.fromstring(draw(dsk))
    corner = {
        node.get("data-key"): (int(node.find(f"{SVG}rect").get("x")), int(node.find(f"{SVG}rect").get("y")))
        for node in picture.iter(f"{SVG}g")
    }
    assert len(set(corner.values())) == 40
    assert all(corner[f"('x', {i})"][0] < corner[f"('y', {j})"][0] for i in range(20) for j in range(20))
    width, height = float(picture.get("width")), float(picture.get("height"))
    assert all(0 <= x < width and 0 <= y < height for x, y in corner.values())


def test_hostile_keys_are_text():
    key = "<script>alert('1')</script>\"&\x00\ud800\n"
    text = draw({key: (abs, 1), ("]]>", 0): (abs, key)})
    assert "<script" not in text
    nodes = list(ElementTree.fromstring(text.encode()).iter(f"{SVG}g"))
    assert nodes[0].get("data-key").startswith("<script>alert('1')</script>\"&")


def test_an_empty_graph_is_an_empty_picture():
    assert float(ElementTree.fromstring(draw({})).get("width")) > 0


@pytest.mark.parametrize("shape", ["flat", "chain", "tree"])
def test_large_graphs(shape):
    n = 10_000
    dsk = {
        "flat": dict.fromkeys(range(n), (add, "one", "two")),
        "chain": {i: (add, i - 1, "one") if i else "first" for i in range(n)},
        "tree": {i: (add, 2 * i + 1, 2 * i + 2) if 2 * i + 2 < n else "leaf" for i in range(n)},
    }[shape]
    assert draw(dsk).count("<rect") == n


def test_a_graph_that_cannot_run_is_not_drawn():
    with pytest.raises(taskloom.GraphError, match=r"'a' -> 'b' -> 'a'|'b' -> 'a' -> 'b'"):
        draw({"a": (abs, "b"), "b": (abs, "a")})


def test_layers_follow_the_longest_way_and_inputs_stand_near_their_users():
    #        0 -> 1 -> 2 -> 3,  4 -> 3
    assert columns([[], [0], [1], [2, 4], []]) == [[0], [1], [2, 4], [3]]
    with pytest.raises(ValueError, match="cycle"):
        columns([[1], [0]])


def test_crossings_are_taken_out():
    n = 10
    inputs = [[] for _ in range(n)] + [[n - 1 - i] for i in range(n)]
    left, right = columns(inputs)
    assert [inputs[node][0] for node in right] == left


def test_drawing_in_a_notebook_and_as_a_file(tmp_path):
    drawing = GraphDrawing({"a": 1, "b": (abs, "a")})
    assert repr(drawing) == "<GraphDrawing of 2 tasks>"
    assert drawing._repr_svg_().startswith("<svg")
    assert "<svg" in drawing._repr_html_()
    assert drawing.save(str(tmp_path / "v1.2")).name == "v1.2.svg"
    assert drawing.save(str(tmp_path / "x.svg")).read_text() == str(drawing)
    with pytest.raises(ValueError, match=re.escape("'x.svg'")):
        drawing.save(str(tmp_path / "x.png"))
