"""Collections and whole graphs on a cluster, as futures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskloom.containers import flat
from taskloom.engines.base import bring_results
from taskloom.engines.cluster.client.asked import Asked
from taskloom.engines.cluster.client.compile import PlanDraft
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.higher import higher
from taskloom.graph import Graph, Plan, adopted, annotated_graph, checked_graph, compile_plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_SEQUENCES = (list, tuple, set, frozenset)


def hold(client: Client, dsk: Graph, keys: Any, asked: Asked) -> Any:
    """Futures of keys of a graph, nested as the keys are. Keys of which there are futures are not computed again."""
    session = client._session
    dsk = annotated_graph(checked_graph(dsk))
    while True:
        plan = compile_plan(dsk, keys)
        held = _shared(client, plan) if session.names else []
        if held:
            plan = compile_plan(dsk | {future.key: future for future in held}, keys)
        bring_results(plan, known=Future)
        slots = {slot for slot in plan.requested if slot >= 0}
        futures: Any = []
        if slots:
            draft = PlanDraft(session, plan)
            wanted = sorted([slot + draft.first for slot in slots])
            slice = draft.finish(asked, wanted=wanted, named=True, bring=False)
            futures = session.hold_plan(draft, slice, client._own)
        if futures is not None:
            break
    results = plan.results()
    for future in futures:
        results[future._state.id - draft.first] = future
    for slot in set(plan.requested):
        if slot < 0 and results[slot].__class__ is not Future:
            results[slot] = client.scatter(results[slot])  # a value that stands in the graph as it is
    return plan.answer(results)


def _shared(client: Client, plan: Plan) -> list[Future]:
    """Futures of the keys of a plan that this client has futures of already."""
    session = client._session
    known = session.names.keys() & set(plan.keys)
    return [future for key in known if (future := session.share(key, client._own)) is not None]


def compute(client: Client, given: Any, optimize_graph: bool, traverse: bool, asked: Asked) -> Any:
    """Futures of the values of collections; what is none comes back as it is."""
    is_collection = higher["is_collection"]
    single = not isinstance(given, _SEQUENCES)
    items = [_as_collection(item, traverse) for item in ([given] if single else given)]
    found = [item for item in items if is_collection(item)]
    futures: Iterator[Any] = iter(())
    if found:
        found = adopted(found, optimize_graph)
        dsk = annotated_graph(higher["merged_graph"](found, optimize_graph)) | {}
        futures = iter(hold(client, dsk, [_finished(client, dsk, collection) for collection in found], asked))
    answers = [next(futures) if is_collection(item) else item for item in items]
    return answers[0] if single else type(given)(answers)


def _as_collection(item: Any, traverse: bool) -> Any:
    """A container of collections as one collection."""
    if traverse and isinstance(item, (*_SEQUENCES, Mapping)):
        return higher["delayed"](item)
    return item


def _finished(client: Client, dsk: dict[Any, Any], collection: Any) -> Any:
    """The key of a collection's value, computed by a task that is added to the graph where there is none."""
    keys = list(collection.__dask_keys__())
    finish, extra = collection.__dask_postcompute__()
    if len(keys) == 1 and not extra and keys[0] == getattr(collection, "key", None):
        return keys[0]
    key = f"{type(collection).__name__.lower()}-{client._new_token()}"
    dsk[key] = (higher["finish"](finish, extra), keys)
    return key


def persist(client: Client, given: Any, optimize_graph: bool, asked: Asked) -> Any:
    """The same collections over futures of their results."""
    is_collection = higher["is_collection"]
    single = not isinstance(given, _SEQUENCES)
    items = [given] if single else list(given)
    found = [item for item in items if is_collection(item)]
    persisted: Iterator[Any] = iter(())
    if found:
        found = adopted(found, optimize_graph)
        names = [list(flat(collection.__dask_keys__())) for collection in found]
        futures = hold(client, higher["merged_graph"](found, optimize_graph), names, asked)
        persisted = iter(
            [
                higher["rebuilt"](collection, dict(zip(keys, held, strict=True)))
                for collection, keys, held in zip(found, names, futures, strict=True)
            ]
        )
    answers = [next(persisted) if is_collection(item) else item for item in items]
    return answers[0] if single else type(given)(answers)
