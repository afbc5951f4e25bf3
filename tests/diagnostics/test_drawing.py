"""The profilers' figures: one time axis, what is in them, and the file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom.diagnostics import CacheProfiler, Profiler, ResourceProfiler, visualize
from taskloom.views.palette import FAILED_COLOR, OTHER_COLOR

bokeh = pytest.importorskip("bokeh")
from bokeh.models import HoverTool, Legend  # noqa: E402


@pytest.fixture(scope="module")
def profilers() -> list[Any]:
    dsk: dict[Any, Any] = {("load", i): (abs, i) for i in range(5)}
    dsk |= {("clean", i): (str, ("load", i)) for i in range(5)}
    dsk["end"] = (len, [("clean", i) for i in range(5)])
    with Profiler() as tasks, ResourceProfiler() as resources, CacheProfiler() as cache:
        taskloom.threaded.get(dsk, "end")
    return [tasks, resources, cache]


def figures(page: Any) -> list[Any]:
    return [child for child, _row, _column in page.children]


def legend(figure: Any) -> list[str]:
    return [item.label.value for found in figure.select(Legend) for item in found.items]


def test_figures_are_stacked_over_one_time_axis(profilers: list[Any]) -> None:
    page = visualize(profilers)
    top, *others = figures(page)
    assert len(others) == 2
    assert all(figure.x_range is top.x_range for figure in others)
    assert len({(figure.min_border_left, figure.min_border_right, figure.width) for figure in figures(page)}) == 1
    assert [figure.xaxis[0].axis_label for figure in figures(page)] == [None, None, "Time (s)"]
    starts = [profiler.start_time for profiler in profilers]
    assert top.x_range.start == 0
    assert top.x_range.end == pytest.approx(max(p.end_time for p in profilers) - min(starts))


def test_a_bar_per_task(profilers: list[Any]) -> None:
    tasks = profilers[0]
    figure = tasks.visualize()
    data = figure.renderers[0].data_source.data
    assert data["key"] == [str(row.key) if isinstance(row.key, tuple) else repr(row.key) for row in tasks.results]
    assert data["left"] == pytest.approx([row.start_time - tasks.start_time for row in tasks.results])
    assert data["right"] == pytest.approx([row.end_time - tasks.start_time for row in tasks.results])
    assert set(data["worker"]) == set(figure.y_range.factors)
    colors = dict(zip(data["name"], data["color"], strict=True))
    assert len(set(colors.values())) == 3
    assert FAILED_COLOR not in colors.values()
    assert figure.title.text == "11 tasks"
    assert figure.yaxis[0].axis_label == "Worker"
    assert set(legend(figure)) == {"load", "clean", "end"}
    assert [label for label, _ in figure.select_one(HoverTool).tooltips] == ["key", "took", "worker"]


def test_a_name_has_one_colour_on_a_page(profilers: list[Any]) -> None:
    tasks, _, cache = figures(visualize(profilers))
    data = tasks.renderers[0].data_source.data
    of_tasks = dict(zip(data["name"], data["color"], strict=True))
    items = [item for found in cache.select(Legend) for item in found.items]
    assert {item.label.value: item.renderers[0].glyph.fill_color for item in items} == of_tasks


def test_memory_has_an_axis_of_its_own(profilers: list[Any]) -> None:
    figure = profilers[1].visualize()
    assert [axis.axis_label for axis in figure.yaxis] == ["CPU (% of one core)", "Memory (MB)"]
    assert figure.extra_y_ranges["memory"].end > profilers[1].results[0].mem


def test_the_cache_adds_up(profilers: list[Any]) -> None:
    figure = profilers[2].visualize()
    line = figure.select_one(HoverTool).renderers[0]
    total = line.data_source.data["total"]
    assert 1 <= max(total) <= 11
    assert total[-1] == 0
    assert line.data_source.data["time"] == sorted(line.data_source.data["time"])


def test_many_names_share_a_colour() -> None:
    with Profiler() as tasks, CacheProfiler() as cache:
        for name in "abcdefghij":
            taskloom.get({name: (abs, -1)}, name)
    for figure in figures(visualize([tasks, cache])):
        assert len(legend(figure)) == 6
        assert legend(figure)[-1] == "5 more names"
    data = tasks.visualize().renderers[0].data_source.data
    assert data["color"].count(OTHER_COLOR) == 5


def test_large_results_stay_drawable() -> None:
    n = 12_000
    dsk: dict[Any, Any] = {("a", i): (abs, i) for i in range(n)}
    dsk["end"] = (len, [("a", i) for i in range(n)])
    with Profiler() as tasks, CacheProfiler() as cache:
        taskloom.get(dsk, "end")
    figure = tasks.visualize()
    assert len(figure.renderers[0].data_source.data["key"]) == 10_000
    assert figure.title.text == "The longest 10,000 of 12,001 tasks"
    line = cache.visualize().select_one(HoverTool).renderers[0]
    assert len(line.data_source.data["time"]) <= 2_002
    assert max(line.data_source.data["total"]) == n  # the moment that the end is there, its inputs go


def test_nothing_recorded_is_said_in_words(tmp_path: Path) -> None:
    profilers = [Profiler(), ResourceProfiler(), CacheProfiler()]
    page = visualize(profilers, filename=tmp_path / "empty.html")
    for figure in figures(page):
        (words,) = figure.renderers[0].data_source.data["text"]
        assert words.startswith("No ")
    assert (tmp_path / "empty.html").exists()
    with pytest.raises(ValueError, match="no profiler"):
        visualize([])


def test_registered_profilers_can_be_drawn() -> None:
    """They have no start time."""
    profiler = Profiler()
    profiler.register()
    taskloom.get({"a": (abs, -1)}, "a")
    profiler.unregister()
    assert profiler.visualize().renderers[0].data_source.data["left"] == [0.0]


def test_options_reach_the_figure(profilers: list[Any]) -> None:
    figure = profilers[0].visualize(width=444, height=222, title="Mine", x_range=(0, 7))
    assert (figure.width, figure.height, figure.title.text, figure.x_range.end) == (444, 222, "Mine", 7)
    with pytest.raises(AttributeError, match="wdith"):
        profilers[0].visualize(wdith=3)


def test_the_file_needs_no_network(
    profilers: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    visualize(profilers)
    assert list(tmp_path.iterdir()) == []

    visualize(profilers, filename="mine.html")
    html = (tmp_path / "mine.html").read_text()
    assert "<script src" not in html
    assert "11 tasks" in html
    visualize(profilers[0], save=True)
    assert (tmp_path / "profile.html").exists()
    visualize(profilers[0], filename="not.html", save=False)
    assert not (tmp_path / "not.html").exists()
    visualize(profilers[0], filename="cdn.html", mode="cdn")
    assert 'src="https://cdn.bokeh.org' in (tmp_path / "cdn.html").read_text()
    assert opened == []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were to be opened in a browser."""
    addresses: list[str] = []
    monkeypatch.setattr("bokeh.util.browser.view", lambda address, *_, **__: addresses.append(address))
    return addresses


def test_show_opens_a_browser(
    profilers: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    visualize(profilers[0], show=True, filename=tmp_path / "mine.html")
    assert opened == [(tmp_path / "mine.html").as_uri()]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    visualize(profilers[0], show=True)
    assert Path(opened[1].removeprefix("file://")).read_text().startswith("<!DOCTYPE html>")


def test_keys_cannot_break_the_page(tmp_path: Path) -> None:
    key = "</script><script>alert(1)</script>\n"
    with Profiler() as profiler:
        taskloom.get({key: (abs, -1)}, key)
    profiler.visualize(filename=tmp_path / "page.html")
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_without_bokeh_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(ImportError, match=r"pip install 'taskloom\[notebook\]'"):
        Profiler().visualize()


def test_importing_the_diagnostics_loads_nothing_heavy() -> None:
    program = "import sys, taskloom.diagnostics; print(*({'bokeh', 'psutil', 'pandas', 'IPython'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
