"""Every view draws every kind of run record, and takes nothing of what users name for anything but text."""

import threading
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom import Run
from taskloom.bus import Failure, GrowingRun, Sample, Transfer
from taskloom.views.cards import graph_card, run_card, runs_card
from taskloom.views.graph_picture import draw_run
from taskloom.views.headline import headline
from taskloom.views.progress import Progress, static_html, text_line

pytest.importorskip("bokeh")

from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document

from taskloom import views
from taskloom.views.stream_picture import picture_html, picture_svg

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "x" * 1_000_000,
    "a\nb\x1b[31m",
    "\ud800",
]


def fail(_: object) -> None:
    raise ValueError("<img src=x onerror=alert(3)>")


def finished(graph: dict[Any, Any], engine: Callable[..., Any] = taskloom.get) -> Run:
    engine(graph, list(graph))
    run = taskloom.last_run()
    assert run is not None
    return run


def empty(_: Path) -> Run:
    return finished({})


def one_task(_: Path) -> Run:
    return finished({"a": (abs, -1)})


def threads(_: Path) -> Run:
    return finished({("load", i): (abs, -i) for i in range(100)}, taskloom.threaded.get)


def failed(_: Path) -> Run:
    with pytest.raises(ValueError, match="alert"):
        finished({"a": (abs, -1), "b": (fail, "a"), "c": (abs, "b")})
    run = taskloom.last_run()
    assert run is not None
    return run


def cancelled(_: Path) -> Run:
    begun = threading.Event()

    def cancel(_: object) -> None:
        begun.set()
        run = taskloom.last_run()
        assert run is not None
        run.cancel()

    with pytest.raises(KeyboardInterrupt):
        finished({"a": (abs, -1), "b": (cancel, "a"), "c": (abs, "b")})
    run = taskloom.last_run()
    assert run is not None
    return run


def large(_: Path) -> Run:
    return finished({(f"load{i % 10}", i): (abs, -i) for i in range(50_000)})


def hostile(_: Path) -> Run:
    return finished({(key, i): (abs, -i) for key in HOSTILE for i in range(3)})


def futures(_: Path) -> Run:
    return futures_of("inc", "worker", "ValueError: no")


def hostile_futures(_: Path) -> Run:
    return futures_of("</script><script>alert(4)</script>", "<img src=x onerror=alert(5)>", HOSTILE[0])


def futures_of(name: str, worker: str, error: str) -> Run:
    """A run of futures that goes on, on two workers of two threads: some done, two failed, one cancelled."""
    run = GrowingRun("distributed", lambda _: False)
    for number in range(2):
        run.join(f"{worker}-{number}", threads=2)
    run.extend([(name, i) for i in range(8)], [name] * 8, [()] * 8)
    run.extend([(f"sum-{name}", 0)], [name], [tuple(range(8))])
    for task in range(4):
        run.start[task], run.stop[task] = run.zero + 0.1 * task, run.zero + 0.1 * task + 0.15
        run.worker[task] = task % 2
        run.done.append(task)
    run.start[4] = run.zero + 0.5
    run.worker[4] = 1
    run.fail_tasks(Failure((name, 4), error, 1), [4, 8], run.zero + 0.6)
    run.start[5], run.current = run.zero + 0.5, [5]
    run.unfinished.add(6)
    run.workers[0].held = run.workers[0].peak_held = 1_000_000
    run.samples = [Sample(0.1 * i, i % 2, 50.0, 10**8, 10**6 * i) for i in range(6)]
    run.transfers = [Transfer(0.3, 0, 0, 1, 800_000), Transfer(0.4, 1, 1, None, 8)]
    return run


def dask_cluster(_: Path) -> Run:
    """A run that fails on a real scheduler, with names that are hostile and can be sent there."""
    pytest.importorskip("distributed")
    from taskloom.distributed import Client
    from tests.adapters.clusters.processes import DaskProcesses

    def refuse(_: object) -> None:  # it travels by value
        raise ValueError(HOSTILE[0])

    graph: dict[Any, Any] = {(key, i): (abs, -i) for key in HOSTILE[:2] for i in range(3)}
    graph |= {"sum": (sum, list(graph)), "none": (refuse, "sum")}
    with DaskProcesses(workers=1) as cluster, Client(cluster.address) as client:
        with pytest.raises(ValueError, match="alert"):
            client.get(graph, "none")
        run = taskloom.last_run()
    assert run is not None
    return run


def loaded(folder: Path) -> Run:
    threads(folder).save(folder / "run.jsonl")
    return Run.load(folder / "run.jsonl")


Make = Callable[[Path], Run]

RUNS: list[Make] = [
    empty,
    one_task,
    threads,
    failed,
    cancelled,
    large,
    hostile,
    futures,
    hostile_futures,
    dask_cluster,
    loaded,
]


def as_json(root: Any) -> str:
    document = Document()
    document.add_root(root)
    return serialize_json(document.to_json(deferred=False))


def report(run: Run, folder: Path) -> str:
    run.report(folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


#: What a view makes of a run, as the text that a page is given.
VIEWS: dict[str, Callable[[Run, Path], str]] = {
    "progress": lambda run, _: static_html(Progress(run).state()),
    "progress, text": lambda run, _: text_line(Progress(run).state()),
    "headline": lambda run, _: headline(run),
    "graph": lambda run, _: draw_run(run),
    "task stream": lambda run, _: as_json(views.task_stream(run)),
    "profile": lambda run, _: as_json(views.profile(run)),
    "dashboard": lambda run, _: as_json(views.dashboard(run)),
    "card": lambda run, _: run_card(run),
    "cards": lambda run, _: runs_card([run, run]),
    "graph card": lambda run, _: graph_card(run.graph),
    "picture": lambda run, _: picture_html(run),
    "picture, svg": lambda run, _: picture_svg(run),
    "report": report,
}


class Elements(HTMLParser):
    """Collects what a browser would make elements of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module", params=RUNS, ids=lambda make: make.__name__)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return request.param(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("view", VIEWS)
def test_view_draws_run(view: str, run: Run, tmp_path: Path) -> None:
    text = VIEWS[view](run, tmp_path)
    assert text
    text.encode("utf-8")
    assert len(text) < (3_000_000 if view == "report" else 6_000_000)
    if view not in ("progress, text", "headline", "task stream", "profile", "dashboard"):
        assert "</script><script>alert" not in text, "not even in the JSON of a page's script"
        for tag, attributes in Elements(text).found:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert tag != "img" or str(attributes["src"]).startswith("data:image/svg+xml;base64,")
            assert tag != "script" or "src" not in attributes


def test_the_picture_is_small(run: Run) -> None:
    assert len(picture_html(run)) < 300_000
