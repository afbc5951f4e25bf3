"""The dashboard's figures: what they count is what the record says, and what people named is cut to length."""

import math
from typing import Any

import pytest

import taskloom
from taskloom import Run
from taskloom.bus import RunGraph, Sample

pytest.importorskip("bokeh")

from taskloom.views.figures.by_name import ProgressByName
from taskloom.views.figures.counts import Counts
from taskloom.views.figures.dashboard import Dashboard
from taskloom.views.figures.page import Page
from taskloom.views.figures.profile import FunctionTimes, Profile
from taskloom.views.figures.resources import Resources


def run_of(graph: dict[Any, Any], get: Any = taskloom.get) -> Run:
    get(graph, list(graph))
    run = taskloom.last_run()
    assert run is not None
    return run


def failed_run() -> Run:
    with pytest.raises(ZeroDivisionError):
        run_of({"a": (abs, -1), "b": (divide, "a"), "c": (abs, "b")})
    run = taskloom.last_run()
    assert run is not None
    return run


def divide(number: int) -> float:
    return number / 0


def first_source(plot: Any) -> dict[str, list[Any]]:
    return dict(plot.renderers[0].data_source.data)


@pytest.mark.parametrize("count", [10, 20_000])
def test_states_begin_and_end_as_they_did(count: int) -> None:
    """Of a large run, too, of which a sample is read."""
    run = run_of({("load", i): (abs, -i) for i in range(count)} | {("clean", i): (abs, ("load", i)) for i in range(9)})
    counts = Counts()
    counts.follow(run)
    data = first_source(counts.root)
    assert data["time"][0] == 0
    assert data["time"][-1] == pytest.approx(run.duration)
    assert data["running"][-1] == data["ready"][-1] == data["waiting"][-1] == 0
    whole = data["running"][0] + data["ready"][0] + data["waiting"][0]
    assert 0.9 * len(run.start) <= whole <= len(run.start)


def test_few_tasks_are_counted_when_they_ran() -> None:
    run = Run(RunGraph(["a", "b"], ["abs", "abs"], [(), (0,)]), "sync")
    for task, (start, stop) in enumerate([(0.1, 0.3), (0.4, 0.8)]):
        run.start[task], run.stop[task] = run.zero + start, run.zero + stop
        run.done.append(task)
    run.end("finished", 1.0)
    counts = Counts()
    counts.follow(run)
    data = first_source(counts.root)
    moments = list(zip(data["time"], data["waiting"], data["ready"], data["running"], strict=True))
    expected = {
        (0.0, 0.1): (1, 1, 0),
        (0.1, 0.3): (1, 0, 1),
        (0.3, 0.4): (0, 1, 0),
        (0.4, 0.8): (0, 0, 1),
        (0.8, 1.0): (0, 0, 0),
    }
    for (begin, end), counts_then in expected.items():
        assert {tuple(counted) for now, *counted in moments if begin + 0.01 < now < end - 0.01} == {counts_then}
    assert len(moments) > 100


def test_what_did_not_run_stays_ready_or_waiting() -> None:
    counts = Counts()
    counts.follow(failed_run())
    data = first_source(counts.root)
    assert (data["running"][-1], data["ready"][-1], data["waiting"][-1]) == (0, 0, 1)


def test_the_function_that_failed_is_in_the_profile() -> None:
    times = FunctionTimes(failed_run())
    times.update()
    assert {name: time.count for name, time in times.times.items()} == {"abs": 1, "divide": 1}


def test_a_large_profile_counts_all_tasks() -> None:
    """A sample is read, in no rhythm that the functions have too."""
    run = run_of({("x", i): ((abs, len)[i % 2], (-i, "x")[i % 2]) for i in range(40_000)})
    times = FunctionTimes(run)
    times.update()
    assert sum(time.count for time in times.times.values()) == pytest.approx(40_000)
    assert times.times["abs"].count == pytest.approx(20_000, rel=0.05)


@pytest.mark.parametrize("view", [ProgressByName, Profile])
def test_names_are_cut_beside_the_bars_and_whole_where_the_mouse_is(view: Any) -> None:
    def clean_the_table_of_all_flights(_: object) -> None: ...

    shown = view()
    shown.follow(run_of({"clean_the_table_of_all_flights": (clean_the_table_of_all_flights, 1)}))
    (label,) = shown.root.yaxis[0].major_label_overrides.values()
    assert len(label) <= 17
    (name,) = first_source(shown.root)["name"]
    assert name.endswith("clean_the_table_of_all_flights"[-10:])


def test_cpu_is_the_mean_of_a_stretch_of_time() -> None:
    """The system counts in steps of 10 ms, so that single readings jump."""
    run = run_of({"a": (abs, -1)})
    run.samples = [Sample(0.1 * i, 0, 100.0 + (-1) ** i * 10, 10**6) for i in range(1, 41)]
    resources = Resources()
    resources.follow(run)
    values = resources.cpu.renderers[1].data_source.data["y"]
    assert max(values) - min(values) < 15
    assert math.isclose(sum(values) / len(values), 100, abs_tol=3)


def test_a_page_gets_no_new_models_while_it_follows_runs() -> None:
    """New models make Bokeh look through the whole page."""
    dashboard = Dashboard()
    page = Page(dashboard.root)
    dashboard.show(failed_run())
    page.patch()
    for count in (5, 30_000):
        dashboard.show(run_of({("load", i): (abs, -i) for i in range(count)}, taskloom.threaded.get))
        patch = page.patch()
        assert patch is not None
        assert '"type":"object"' not in patch[0]
