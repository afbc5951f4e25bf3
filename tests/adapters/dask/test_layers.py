"""What is drawn of dask's collections: layers with what they make, and expressions before and after optimisation."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

dask = pytest.importorskip("dask")
np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")
dd = pytest.importorskip("dask.dataframe")

from taskloom.adapters.dask import layers  # noqa: E402
from taskloom.bus import RunGraph  # noqa: E402
from taskloom.views.graph_boxes import Diagram  # noqa: E402
from taskloom.views.graph_picture import picture_of, svg  # noqa: E402
from taskloom.views.graph_sources import graph_sources  # noqa: E402
from taskloom.views.graph_states import tip  # noqa: E402


def graphs_of(*collections: Any, optimized: bool = False, may_compute: bool = True) -> dict[str, RunGraph]:
    (source,) = graph_sources
    assert any(map(source.owns, collections))
    return source.graphs(collections, optimized, may_compute)


def tips(graph: RunGraph, collapsed: bool = True) -> dict[str, list[str]]:
    """What is told of each box, by what stands in it."""
    diagram = Diagram(graph, collapsed=collapsed)
    return {box.label: tip(diagram, number, None) for number, box in enumerate(diagram.boxes)}


def frame(npartitions: int = 4) -> Any:
    data = pd.DataFrame({"a": range(100), "b": 1.5, "c": list("xy") * 50})
    return dd.from_pandas(data, npartitions=npartitions)


def test_an_array_has_a_box_for_each_layer_that_tells_shape_type_and_chunks() -> None:
    x = da.ones((40, 30), chunks=(10, 15))
    before = graphs_of((x + 1) + 1)["Before optimisation"]
    boxes = Diagram(before, collapsed=True).boxes
    assert [(box.label, len(box.tasks)) for box in boxes] == [("ones_like", 8), ("add", 8), ("add", 8)]
    assert len({box.key for box in boxes}) == 3, "two layers of one name are two boxes"
    assert tips(before)["add"][1:4] == [
        "8 tasks",
        "array 40 × 30 float64, 9.6 kB",
        "4 × 2 chunks of 10 × 15, 1.2 kB",
    ]


def test_a_task_of_an_array_tells_its_chunk() -> None:
    before = graphs_of(da.ones((25, 30), chunks=(10, 15)))["Before optimisation"]
    told = tips(before, collapsed=False)
    assert told["ones_like 2 1"][1:3] == ["chunk (2, 1) of 3 × 2: 5 × 15 float64, 600 bytes", "elements [20:25, 15:30]"]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (
            lambda: da.ones((25,), chunks=((5, 10, 10),)),
            ["array 25 float64, 200 bytes", "3 chunks of up to 10, 80 bytes"],
        ),
        (lambda: (x := da.arange(20, chunks=5))[x > 3], ["array ? int64", "4 chunks of ?"]),
        (lambda: da.ones(()), ["scalar float64"]),
        (lambda: da.from_array(np.array(["a", None], dtype=object), chunks=1), ["array 2 object", "2 chunks of 1"]),
        (lambda: da.ones((0, 3), chunks=(1, 3)), ["array 0 × 3 float64, 0 bytes", "1 × 1 chunks of 0 × 3, 0 bytes"]),
    ],
    ids=["uneven", "unknown", "scalar", "objects", "empty"],
)
def test_arrays_of_every_kind(array: Any, told: list[str]) -> None:
    collection = array()
    layer = graphs_of(collection)["Before optimisation"].layers[collection.name]
    assert list(layer.lines) == told
    key = next(iter(collection.dask.layers[collection.name]))
    assert len(layer.part(key)) <= 2
    assert layer.part((collection.name, 10**9)) == layer.part((collection.name, "x", None)) == []


def test_the_first_step_of_a_reduction_makes_small_chunks() -> None:
    graph = graphs_of(da.ones((40, 30), chunks=(10, 15)).sum(axis=0))["Before optimisation"]
    assert tips(graph)["sum"][2:4] == ["array 4 × 30 float64, 960 bytes", "4 × 2 chunks of 1 × 15, 120 bytes"]


def test_what_was_fused_is_named_and_keeps_what_is_known() -> None:
    after = graphs_of((da.ones((40, 30), chunks=(10, 15)) + 1).T.sum(axis=0))["After optimisation"]
    (told,) = [lines for label, lines in tips(after).items() if label.startswith("sum") and "aggregate" not in label]
    assert "includes ones_like, add, transpose" in told
    assert "2 × 4 chunks of 1 × 10, 80 bytes" in told


def test_a_frame_is_its_expression_before_and_after_and_its_tasks() -> None:
    df = frame()
    graphs = graphs_of(df[df.a > 3].groupby("c").b.mean())
    assert list(graphs) == ["Expression before optimisation", "Expression after optimisation", "After optimisation"]
    before, after, tasks = map(tips, graphs.values())
    assert {"FromPandas", "Filter", "GT 3", "Projection 'b'", "Mean 'b'"} <= before.keys()
    assert "TreeReduce Mean" in after
    assert before["Filter"][1:4] == ["3 columns: a int64, b float64, c string", "4 partitions", "divisions 0 … 99"]
    assert before["GT 3"][-1] == "takes Projection 'a'", "by what stands in it"
    assert "divisions 0 … 99" in tasks["frompandas"]
    assert "columns = 'b'" in before["Projection 'b'"]


def test_frames_from_files_are_called_by_them(tmp_path: Path) -> None:
    frame().compute().to_parquet(tmp_path / "long-name-of-a-file.parquet")
    frame().compute().to_csv(tmp_path / "x.csv")
    both = dd.read_parquet(str(tmp_path / "*.parquet")).merge(dd.read_csv(str(tmp_path / "x.csv")), on="a")
    told = tips(graphs_of(both)["Expression before optimisation"])
    assert any(label.startswith("ReadParquet") and label.endswith(" *.parquet") for label in told)
    assert any("csv" in label for label in told)
    assert "Merge 'a'" in told


def test_a_task_of_a_frame_tells_its_division() -> None:
    told = tips(graphs_of(frame())["After optimisation"], collapsed=False)
    assert told["frompandas 1"][1:3] == ["partition 1 of 4", "division 25 … 50"]


def test_dates_and_unknown_divisions() -> None:
    dates = pd.DataFrame({"x": 1.0}, index=pd.date_range("2026-01-01", periods=10))
    by_date = dd.from_pandas(dates, npartitions=2)
    assert (
        "divisions 2026-01-01 00:00:00 … 2026-01-10 00:00:00"
        in tips(graphs_of(by_date)["After optimisation"])["frompandas"]
    )
    unknown = by_date.clear_divisions()
    assert "divisions unknown" in tips(graphs_of(unknown)["Expression before optimisation"])["ClearDivisions"]


def test_expressions_that_must_be_computed_to_be_optimised_are_not_where_nothing_may_run() -> None:
    runs = []
    with dask.config.set(scheduler=lambda *args, **options: runs.append(args) or dask.get(*args)):
        graphs = graphs_of(frame().set_index("b"), may_compute=False)
        assert list(graphs) == ["Expression before optimisation"]
        assert runs == []
        assert len(graphs_of(frame().set_index("b"))) == 3
    assert runs


def test_bags_delayed_values_and_several_collections_at_once() -> None:
    bag = db.from_sequence(range(10), npartitions=5).map(str).filter(bool)
    assert [len(box.tasks) for box in Diagram(graphs_of(bag)["Before optimisation"], collapsed=True).boxes] == [5, 5, 5]
    inc = dask.delayed(abs)
    total = dask.delayed(sum)([inc(i) for i in range(4)])
    assert sorted(len(box.tasks) for box in Diagram(graphs_of(total)["Before optimisation"], collapsed=True).boxes) == [
        1,
        4,
    ]
    both = graphs_of(total, da.ones(4, chunks=2))["After optimisation"]
    assert {"sum", "abs", "ones_like"} <= set(tips(both))


def test_layers_may_be_named_by_tuples() -> None:
    for value in (dask.delayed(len)(frame()), dask.delayed(abs)(frame().a.sum())):
        assert tips(graphs_of(value)["After optimisation"])


def test_of_a_huge_graph_the_layers_are_drawn_and_no_task_is_made() -> None:
    graphs = graphs_of(da.ones((100_000, 100_000), chunks=(100, 100)) + 1)
    (graph,) = graphs.values()
    assert list(graphs) == ["Layers before optimisation"]
    assert tips(graph)["add"][1:3] == ["1,000,000 tasks", "array 100,000 × 100,000 float64, 80 GB"]
    assert "2 layers" in svg(picture_of(Diagram(graph)))


def test_what_is_noted_names_the_layers_of_a_run_and_is_not_kept() -> None:
    x = da.ones((4, 4), chunks=2) + 1
    graph = x.__dask_graph__()
    keys = list(graph)
    layers.note(graph)
    layers.note({"plain": 1})
    seen = RunGraph(keys, [""] * len(keys), [()] * len(keys))
    assert sorted(box.label for box in Diagram(seen, collapsed=True).boxes) == ["add", "ones_like"]
    assert tips(seen)["add"][2] == "array 4 × 4 float64, 128 bytes"
    assert len(RunGraph([("load", 1), ("load", 2)], ["", ""], [(), ()]).layers) == 0, "a run of something else"
    noted = weakref.ref(graph)
    del x, graph
    gc.collect()
    assert noted() is None


def test_hostile_text_is_escaped_and_short() -> None:
    evil = "<img src=x onerror=alert(1)>\n" + "y" * 10_000
    df = dd.from_pandas(pd.DataFrame({evil: [1, 2]}, index=[evil + "a", evil + "b"]), npartitions=2)
    for graph in graphs_of(df[[evil]] + 1).values():
        text = svg(picture_of(Diagram(graph)))
        assert "<img" not in text
        assert len(text) < 20_000


def test_an_object_that_cannot_say_what_it_is_does_no_harm() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    whole = frame().map_partitions(lambda part, odd, other: part, Odd(), other=[Odd()], meta=frame()._meta)
    told = tips(graphs_of(whole)["Expression before optimisation"])
    assert told["MapPartitions <lambda>"][1] == "3 columns: a int64, b float64, c string"
