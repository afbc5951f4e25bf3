"""What must hold in the scheduler at any time: its indexes agree with each other."""

from collections import Counter
from typing import Any

from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import (
    ABSENT,
    DONE,
    ERRED,
    FORGOTTEN,
    READY,
    RELEASED,
    SENT,
    TRANSIT,
    WAITING,
    Task,
)


def check(scheduler: Scheduler) -> None:
    """The indexes of the scheduler agree with each other."""
    real = {id: task for id, task in scheduler.tasks.items() if id == task.id}
    clients, workers = scheduler.clients, scheduler.workers
    for id, task in scheduler.tasks.items():
        assert id == task.id or id in (task.wanted or ()), f"{task} has a name that is of no use"
        assert scheduler.tasks.get(task.id) is task
    for task in real.values():
        _check_task(scheduler, task)
    for key, task in scheduler.names.items():
        assert task.key == key
        assert task.named
        assert real.get(task.id) is task
    for client in clients.values():
        for id, task in client.futures.items():
            assert (task.wanted or {}).get(id) == client.number
            assert scheduler.tasks.get(id) is task
        assert client.codes <= set(scheduler.functions)
    for worker in workers.values():
        _check_worker(scheduler, worker)
    everything = _reachable(scheduler)
    users = Counter([task.code for task in everything if task.has_function])
    for client in clients.values():
        users.update(client.codes)
    assert +users == Counter(scheduler.users)
    assert set(users) == set(scheduler.functions)
    assert set(scheduler.seconds) <= set(users)
    heirs = Counter([dep.id for task in everything for dep in task.inputs])
    for task in everything:
        assert task.heirs == heirs[task.id], task
    in_heaps = {rank for client in clients.values() for rank in (*client.ready, *client.roots)}
    in_heaps |= {rank for worker in workers.values() if not worker.leaving for rank in worker.own}
    special = {rank for heap in scheduler.special.values() for rank in heap}
    for task in real.values():
        if task.state is READY:
            assert task.rank in (in_heaps if task.options.requirement is None else special), f"{task} was forgotten"


def _reachable(scheduler: Scheduler) -> list[Task]:
    found = dict.fromkeys(scheduler.tasks.values())
    todo = list(found)
    while todo:
        for dep in todo.pop().inputs:
            if dep not in found:
                assert dep.state is RELEASED, dep
                found[dep] = None
                todo.append(dep)
    return list(found)


def _check_task(scheduler: Scheduler, task: Task) -> None:
    state, workers = task.state, scheduler.workers
    assert state not in (RELEASED, FORGOTTEN), f"{task} is still listed"
    assert task.wanted or task.dependents, f"nobody needs {task}"
    for number in (task.wanted or {}).values():
        assert number in scheduler.clients
    for user in (task.dependents or {}).values():
        assert task in user.inputs
        assert user.state in (WAITING, READY, TRANSIT, SENT, ERRED), f"{user} takes {task} no more"
        assert scheduler.tasks.get(user.id) is user
    if state in (WAITING, READY, TRANSIT, SENT):
        for dep in task.inputs:
            assert dep.dependents, f"{dep} is not known to be needed"
            assert dep.dependents.get(task.id) is task
            assert dep.state in (WAITING, READY, TRANSIT, SENT, DONE), f"{task} waits for {dep}"
        assert task.has_function
        assert task.open == sum(dep.state is not DONE for dep in task.inputs), f"{task}: {task.open} open"
        local = [dep for dep in task.inputs if dep.state is SENT and dep.worker is task.home]
        assert task.local <= len(local)
        assert (task.home is None) == (task.local == 0)
        assert task.home is None or task.home.number in workers
    if state is WAITING:
        assert task.open, f"{task} waits for nothing"
    elif state is READY:
        assert not task.open
    elif state is ERRED:
        assert task.error is not None
    assert (task.worker is not None) == (state in (SENT, TRANSIT))
    if state is SENT:
        assert task.worker.outstanding.get(task.id) is task
    elif state is TRANSIT:
        assert task.worker.transit.get(task.id) is task
        waiting_for = [dep for dep in task.inputs if task in (dep.takers or ())]
        assert task.missing == len(waiting_for) > 0
        assert all(dep.fetching >= 0 for dep in waiting_for), f"nothing is coming for {task}"
    if state is DONE:
        assert task.holders or task.value is not ABSENT or task.parcel is not None, f"{task} is not there"
        assert not task.askers or task.fetching >= 0
    else:
        assert not task.holders
        assert not task.takers
    if task.fetching >= 0 and state is DONE:
        assert task.fetching in workers
    assert len(set(task.holders)) == len(task.holders)
    for number in task.holders:
        assert task in workers[number].has


def _check_worker(scheduler: Scheduler, worker: Any) -> None:
    for task in worker.has:
        assert worker.number in task.holders
        assert scheduler.tasks.get(task.id) is task
    assert abs(worker.held - sum(task.nbytes for task in worker.has)) < 1e-3
    assert all(task.state is SENT and task.worker is worker for task in worker.outstanding.values())
    assert all(task.state is TRANSIT and task.worker is worker for task in worker.transit.values())
    assert not worker.strays & set(worker.outstanding)
    assert worker.load >= 0.0
    given = [*worker.outstanding.values(), *worker.transit.values()]
    for name, amount in worker.resources.items():
        used = sum(dict(task.options.resources).get(name, 0.0) for task in given)
        assert abs(worker.free[name] - (amount - used)) < 1e-9
    assert worker.functions <= set(scheduler.functions)
