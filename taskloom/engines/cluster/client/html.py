"""How clients and clusters show themselves."""

from __future__ import annotations

from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.sizes import size_text
from taskloom.graph import short_key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client
    from taskloom.engines.cluster.client.future import Future
    from taskloom.engines.cluster.local_cluster import LocalCluster


def client_text(client: Client) -> str:
    """A client in a line.

    ``<Client: 'unix:///run/user/1000/.../scheduler.sock' processes=4 threads=8, memory=31.38 GiB>``
    """
    if client.status != "running" or client.is_lost:
        return f"<Client: {_status(client)}>"
    workers = list(client._session.workers.values())
    return (
        f"<Client: {str(client._address())!r} processes={len(workers)} "
        f"threads={sum([worker.threads for worker in workers])}{_memory(workers)}>"
    )


def cluster_text(cluster: LocalCluster) -> str:
    """A cluster in a line: ``LocalCluster('...', workers=2, threads=4, memory=31.38 GiB)``."""
    workers = list(cluster.workers.values())
    if cluster.status != "running":
        return f"LocalCluster({cluster.name!r}, {cluster.status})"
    threads = sum([worker.threads for worker in workers])
    return f"LocalCluster({cluster.name!r}, workers={len(workers)}, threads={threads}{_memory(workers)})"


def client_html(client: Client) -> str:
    """A client as a card, with its cluster's workers."""
    if client.status != "running" or client.is_lost:
        return _card("Client", [("status", _status(client))], ())
    memory = {} if client.cluster is None else client.cluster.memory
    rows = [("cluster", client._address())]
    return _card("Client", rows, client._session.workers.values(), memory, _dashboard(client))


def _status(client: Client) -> str:
    return "cannot reach its cluster any more" if client.status == "running" else client.status


def _dashboard(client: Client) -> str:
    """Where the dashboard is: a link if it is served already, which showing a client is no reason to begin with."""
    link = client._served.link_if_served
    if link is None:
        where = "<code>%dashboard</code> shows it in a cell, <code>client.dashboard_link</code> serves it to a browser"
    else:
        where = f'<a href="{escape(link)}" target="_blank" rel="noopener">{escape(link.partition("?")[0])}</a>'
    return f"<dt>dashboard</dt><dd>{where}</dd>"


def cluster_html(cluster: LocalCluster) -> str:
    """A cluster as a card, with its workers."""
    rows = [("name", cluster.name), ("status", cluster.status), ("address", cluster.scheduler_address)]
    return _card("LocalCluster", rows, cluster.workers.values(), cluster.memory)


def future_html(future: Future) -> str:
    """A future as a card."""
    rows = [("status", future.status), ("key", short_key(future.key))]
    if future.type is not None:
        rows.append(("type", future.type.__name__))
    return _card("Future", rows, ())


def _memory(workers: Any) -> str:
    limit = sum([worker.memory_limit for worker in workers if worker.memory_limit])
    return f", memory={size_text(limit)}" if 0 < limit < float("inf") else ""


_STYLE = """
.taskloom-cluster-card { font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.5; max-width: 44em; }
.taskloom-cluster-card dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; margin: 0.3em 0; }
.taskloom-cluster-card dt { opacity: 0.7; }
.taskloom-cluster-card dd { margin: 0; overflow-wrap: anywhere; }
.taskloom-cluster-card table { border-collapse: collapse; margin: 0.3em 0; color: inherit; font: inherit; }
.taskloom-cluster-card thead { opacity: 0.7; }
.taskloom-cluster-card th, .taskloom-cluster-card td { text-align: right; padding: 0.1em 0.8em; font-weight: inherit; }
.taskloom-cluster-card th:first-child, .taskloom-cluster-card td:first-child { text-align: left; padding-left: 0; }
"""


def _card(title: str, rows: Any, workers: Any, memory: Any = MappingProxyType({}), more: str = "") -> str:
    workers = list(workers)
    facts = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in rows)
    table = ""
    if workers:
        lines = "".join(
            f"<tr><td>{escape(worker.name)}</td><td>{worker.threads}</td><td>{worker.pid}</td>"
            f"<td>{_limit(worker.memory_limit)}</td>{_use(memory.get(worker.name, _GONE)) if memory else ''}</tr>"
            for worker in workers[:100]
        )
        table = (
            f"<details><summary>{len(workers)} workers, {sum([worker.threads for worker in workers])} threads"
            f"{escape(_memory(workers))}</summary><table><thead><tr><th>worker</th><th>threads</th><th>pid</th>"
            f"<th>memory limit</th>{_USE if memory else ''}</tr></thead><tbody>{lines}</tbody></table></details>"
        )
    facts = f"<dl>{facts}{more}</dl>"
    return f'<div class="taskloom-cluster-card"><style>{_STYLE}</style><b>{title}</b>{facts}{table}</div>'


_GONE = {"memory": 0, "spilled": 0, "status": "closed"}  # a worker that the client has not heard of that it ended
_USE = "<th>memory</th><th>on disk</th><th>status</th>"


def _use(memory: dict[str, Any]) -> str:
    return "".join(
        f"<td>{text}</td>" for text in (size_text(memory["memory"]), size_text(memory["spilled"]), memory["status"])
    )


def _limit(limit: float | None) -> str:
    return size_text(limit) if limit and limit < float("inf") else "none"
