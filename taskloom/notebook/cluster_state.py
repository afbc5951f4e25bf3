"""What the view of a cluster shows: plain JSON, and the picture of it that stays in a saved notebook."""

from __future__ import annotations

from html import escape
from math import inf
from typing import TYPE_CHECKING, TypedDict

from taskloom.engines.cluster.overview import WorkerOverview, runs_on, workers_of
from taskloom.engines.cluster.sizes import size_text
from taskloom.views.labels import name_label

if TYPE_CHECKING:
    from taskloom.engines.cluster.local_cluster import LocalCluster

MOST_ROWS = 32  # of workers


class WorkerRow(TypedDict):
    """A worker; `share` is that of its memory limit that it uses, from 0 to 1."""

    name: str
    threads_text: str
    share: float
    memory_text: str


class ClusterState(TypedDict):
    """All that a view shows, as texts that are not yet escaped; `minimum` and `maximum` are what a form offers."""

    name: str
    status: str
    status_text: str
    size_text: str
    workers: list[WorkerRow]
    more_text: str
    size: int
    minimum: int
    maximum: int
    adapts: bool


def is_busy(cluster: LocalCluster) -> bool:
    """Whether there is something to stop."""
    return cluster.status == "running" and bool(runs_on(cluster))


def state_of(cluster: LocalCluster) -> ClusterState:
    """What a cluster is right now."""
    is_open = cluster.status == "running"
    workers = workers_of(cluster) if is_open else []
    adaptive = cluster.adaptive
    size, most = cluster.sizes() if is_open else (0, 1)
    return ClusterState(
        name=name_label(cluster.name),
        status=cluster.status,
        status_text=_status_text(workers) if is_open else cluster.status,
        size_text=_size_text(cluster, size, workers) if is_open else "",
        workers=[_row(worker) for worker in workers[:MOST_ROWS]],
        more_text=f"and {len(workers) - MOST_ROWS} more" if len(workers) > MOST_ROWS else "",
        size=size,
        minimum=adaptive.minimum if adaptive else 0,
        maximum=adaptive.maximum if adaptive else most,
        adapts=adaptive is not None,
    )


def _status_text(workers: list[WorkerOverview]) -> str:
    threads, busy = sum([worker.threads for worker in workers]), sum([worker.busy for worker in workers])
    if not workers:
        return "no workers"
    memory, limit = sum([worker.memory for worker in workers]), sum([worker.memory_limit for worker in workers])
    parts = [_count(len(workers), "worker"), f"{busy} of {_count(threads, 'thread')} busy", _of(memory, limit)]
    return " · ".join(parts)


def _size_text(cluster: LocalCluster, size: int, workers: list[WorkerOverview]) -> str:
    """What becomes of the number of workers."""
    staying = len([worker for worker in workers if not worker.leaving])
    parts = []
    if cluster.adaptive is not None:
        parts.append(f"adapts between {cluster.adaptive.minimum} and {cluster.adaptive.maximum}")
    if staying < size:
        parts.append(f"{_count(size - staying, 'worker')} starting")
    if staying < len(workers):
        parts.append(f"{_count(len(workers) - staying, 'worker')} leaving")
    return ", ".join(parts)


def _row(worker: WorkerOverview) -> WorkerRow:
    limited = 0 < worker.memory_limit < inf
    return WorkerRow(
        name=name_label(worker.name),
        threads_text="leaving" if worker.leaving else f"{worker.busy}/{worker.threads} busy",
        share=round(min(1.0, worker.memory / worker.memory_limit), 3) if limited else 0.0,
        memory_text=_of(worker.memory, worker.memory_limit),
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _of(memory: float, limit: float) -> str:
    """How much of how much, with the unit once where it is the same.

    >>> _of(2**30, 4 * 2**30), _of(5 * 2**20, 4 * 2**30), _of(2**30, inf)
    ('1.0 of 4.0 GiB', '5 MiB of 4.0 GiB', '1.0 GiB')
    """
    used = _rounded(memory)
    if not 0 < limit < inf:
        return used
    whole = _rounded(limit)
    number, unit = used.split(" ")
    return f"{number if whole.endswith(f' {unit}') else used} of {whole}"


def _rounded(nbytes: float) -> str:
    """As much of a size as does not flicker.

    >>> _rounded(123_456_789), _rounded(5.25 * 2**30)
    ('118 MiB', '5.2 GiB')
    """
    number, unit = size_text(nbytes).split(" ")
    return f"{float(number):.1f} {unit}" if unit in ("GiB", "TiB") else f"{float(number):.0f} {unit}"


# -- without a widget --------------------------------------------------------------------------------------------------


def cluster_text(state: ClusterState) -> str:
    """A cluster as lines of text."""
    return "\n".join([_headline(state), *_lines(state)])


def cluster_html(state: ClusterState) -> str:
    """A cluster as HTML that needs neither script nor style sheet, and is safe whatever it is called."""
    rows = "".join(
        f"<div style='{_ROW}'><span style='{_NAME}'>{escape(row['name'])}</span>"
        f"<span style='{_BAR}'><span style='{_FILL}width:{100 * row['share']:.1f}%;'></span></span>"
        f"<span style='{_MEMORY}'>{escape(row['memory_text'])}</span>"
        f"<span style='{_MUTED}'>{escape(row['threads_text'])}</span></div>"
        for row in state["workers"]
    )
    more = f"<div style='{_MUTED}'>{escape(state['more_text'])}</div>" if state["more_text"] else ""
    return (
        f"<div class='taskloom-cluster' style='{_ROOT}'><div><b>{escape(state['name'])}</b> "
        f"{escape(_headline(state).removeprefix(state['name']).strip(': '))}</div>{rows}{more}</div>"
    )


def _headline(state: ClusterState) -> str:
    return f"{state['name']}: " + " · ".join([text for text in (state["status_text"], state["size_text"]) if text])


def _lines(state: ClusterState) -> list[str]:
    lines = [f"  {row['name']}  {row['memory_text']}  {row['threads_text']}" for row in state["workers"]]
    return [*lines, f"  {state['more_text']}"] if state["more_text"] else lines


_ROOT = "font-size:13px;line-height:20px;padding:2px 0;max-width:860px;"
_ROW = "display:flex;flex-wrap:wrap;align-items:center;column-gap:12px;font-size:12px;"
_NAME = "flex:0 0 72px;"
_BAR = (
    "flex:1 1 40px;max-width:280px;height:8px;border-radius:4px;overflow:hidden;"
    "background-color:rgba(128,128,128,0.25);"
)
_FILL = "display:block;height:8px;background-color:#2196f3;"
_MEMORY = "flex:0 0 136px;white-space:nowrap;"
_MUTED = "opacity:0.7;"
