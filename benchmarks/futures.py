"""Futures of null tasks: one at a time, and many at once; beside frisky's, executors', distributed's and Ray's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

from benchmarks import clusters, graphs
from benchmarks.clusters import MOST_ROUNDS, Peer, is_installed, peer, settle
from benchmarks.contenders import WORKERS
from benchmarks.report import Promise, Report, at_least, at_most, micro, times
from benchmarks.round_trip import echo, repeat
from benchmarks.rounds import Effort, Times, interleave

ROUND_TRIPS = 16  # that a future may take from `submit` to `result`
MANY = 10  # times faster than distributed, at least, with many futures at once

numbers = count()  # arguments that nobody has seen before, so that no result is known already


def measure(effort: Effort) -> Report:
    one, many = effort.choose(300, 10), effort.choose(10_000, 200)
    rows, promises = [], []
    with echo() as ask, _peers() as peers:
        single, bulk = _measure(peers, ask, one, many, effort)
    rows += [_row(name, single, bulk, one, many) for name in peers]
    promises += _promises(single, bulk, one)
    if is_installed("ray"):  # on its own with ours: half a dozen processes, which are not idle while nobody calls them
        with echo() as ask, clusters.taskloom_cluster() as client, clusters.ray_cluster() as ray:
            measured = _measure({"taskloom": peer(client), "Ray": ray}, ask, one, many, effort)
        rows.append(_row("Ray", *measured, one, many))
    missing = [name for name in ("frisky", "ray") if not is_installed(name)]
    notes = (
        f"µs per null task, {WORKERS} worker processes with a thread each. One at a time: `submit(null, i).result()`, "
        f"the mean of {one:,}; a round trip is that of a byte through a Unix socket pair in the same round. Many: "
        f"{many:,} times `submit`, then `gather`. Ratios are to taskloom's time in the same round. Ray is measured "
        "with taskloom only, after the others, as its processes are busy also while nobody calls them."
        + (f" Not installed: {', '.join(missing)}." if missing else "")
    )
    header = ("who", "one at a time", "round trips", "ratio", f"{many:,} at once", "ratio")
    return Report("Futures", header, rows, notes, promises)


@contextmanager
def _peers() -> Iterator[dict[str, Peer]]:
    with ExitStack() as stack:
        opened = {name: peer(client) for name, client in stack.enter_context(clusters.clients()).items()}
        yield opened | {"ProcessPoolExecutor": stack.enter_context(clusters.process_pool())}


def _measure(
    peers: dict[str, Peer], ask: Callable[[], None], one: int, many: int, effort: Effort
) -> tuple[Times, Times]:
    settled = partial(settle, effort)
    singly = {name: partial(repeat, partial(_one, each), one) for name, each in peers.items()}
    single = interleave(singly | {"round trip": partial(repeat, ask, one)}, effort.rounds, between=settled)
    at_once = {name: partial(_many, each, many) for name, each in peers.items()}
    return single, interleave(at_once, min(effort.rounds, MOST_ROUNDS), warm_up=False, between=settled)


def _one(peer: Peer) -> None:
    peer.result(peer.submit(graphs.null, next(numbers)))


def _many(peer: Peer, n: int) -> None:
    peer.gather([peer.submit(graphs.null, next(numbers)) for _ in range(n)])


def _row(name: str, single: Times, bulk: Times, one: int, many: int) -> list[str]:
    return [
        name,
        micro(single.median(name) / one),
        f"{single.ratio(name, 'round trip'):.3g}",
        times(single.ratio(name, "taskloom")),
        micro(bulk.median(name) / many),
        times(bulk.ratio(name, "taskloom")),
    ]


def _promises(single: Times, bulk: Times, one: int) -> list[Promise]:
    ours, trip = (micro(single.median(name) / one) for name in ("taskloom", "round trip"))
    return [
        at_most(
            f"submit to result of a task ({ours} µs), in round trips of a socket pair ({trip} µs)",
            single.ratio("taskloom", "round trip"),
            ROUND_TRIPS,
            "",
        ),
        at_least("many futures are faster than distributed's", bulk.ratio("distributed", "taskloom"), MANY),
    ]
