"""Tasks that wait for tasks: on one thread, nested, crosswise and many at a time."""

from pathlib import Path

import pytest

from .fault_cases import check_program

ONE = "client = Client(n_workers=1, threads_per_worker=1)\n"
TWO = "client = Client(n_workers=2, threads_per_worker=1)\n"
THREADS = "client = Client(n_workers=1, threads_per_worker=1, processes=False)\n"

WAITS = {
    "result": """
def outer(n):
    return get_client().submit(abs, -n).result() if n < 2 else get_client().submit(outer, n - 1).result() + 1
assert client.submit(outer, 5).result() == 5
""",
    "gather": """
def outer(depth):
    if not depth:
        return 1
    here = get_client()
    return sum(here.gather(here.map(outer, [depth - 1] * 2, pure=False)))
assert client.submit(outer, 5).result() == 32
""",
    "as-completed-and-wait": """
def outer(depth):
    if not depth:
        return 1
    here = get_client()
    futures = [here.submit(outer, depth - 1, pure=False) for _ in range(2)]
    wait(futures[:1])
    return sum(future.result() for future in as_completed(futures))
assert client.submit(outer, 4).result() == 16
""",
    "get": """
def outer(depth):
    if not depth:
        return 1
    return sum(get_client().get({"a": (outer, depth - 1), "b": (outer, depth - 1)}, ["a", "b"]))
assert client.submit(outer, 4).result() == 16
assert client.get({"x": (outer, 3)}, "x") == 8
""",
    "many": """
def one(i):
    return [i]
def outer(i):
    here = get_client()
    return sum(map(sum, here.gather([here.submit(one, 5 * i + j) for j in range(5)])))
assert client.gather(client.map(outer, range(200))) == [sum(range(5 * i, 5 * i + 5)) for i in range(200)]
""",
    "siblings": """
def producer(i):
    return i
def consumer(key):
    from taskloom.distributed import Future
    return Future(key, get_client()).result()
futures = client.map(producer, range(5), key=[f"p{i}" for i in range(5)])
later = [client.submit(consumer, f"p{i}", pure=False) for i in range(5)]
assert client.gather(later) == list(range(5))
""",
    "cancelled-while-it-waits": """
def inner(name):
    once(name)
    time.sleep(0.01)
    return name
def forever(name):
    once(name)
    while True:
        time.sleep(0.01)
patience()
def outer():
    return get_client().submit(forever, "inner").result()
future = client.submit(outer)
until(lambda: written("inner"))
future.cancel()
assert client.submit(abs, -3).result(timeout=10) == 3
""",
    "cancelled-at-any-moment": """
def outer():
    here = get_client()
    while True:
        here.gather([here.submit(abs, -i, pure=False) for i in range(3)])
patience()
for i in range(150):
    future = client.submit(outer, pure=False)
    time.sleep(0.0007 * (i % 30))
    future.cancel()
workers = client.cluster._coordinator.scheduler.workers
until(lambda: not any(worker.blocked or worker.strays for worker in list(workers.values())))
""",
    "failing": """
def inner():
    raise ValueError("inner")
def outer(depth):
    return get_client().submit(outer if depth else inner, *([depth - 1] if depth else [])).result()
raised(ValueError, client.submit(outer, 3).result, "inner")
""",
}


@pytest.mark.parametrize("workers", ["one", "two", "threads"])
@pytest.mark.parametrize("waits", WAITS)
def test_tasks_that_wait(place: Path, waits: str, workers: str) -> None:
    check_program(WAITS[waits] + "\ncheck()\n", {"one": ONE, "two": TWO, "threads": THREADS}[workers])
