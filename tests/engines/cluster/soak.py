"""A program: random work on a cluster whose workers are killed, stopped, cancelled, interrupted and scaled.

The answers are those of the sync engine and of plain Python, and nothing is left at the end.
``python -m tests.engines.cluster.soak SECONDS [SEED]`` prints what it did, and ends with an error at the first mistake.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

import taskloom
from taskloom.bus.event_bus import bus
from taskloom.distributed import Client, Future, FutureCancelledError, as_completed, get_client
from tests.engines.soak import combine, expected, random_graph, same

TROUBLES = ("none", "none", "kill", "stop", "cancel", "interrupt", "scale", "adapt", "retire")
LONGEST = 60  # seconds that a round may take: it hangs
MOST_DEATHS = 2  # in one round: below the retries of a task
ROUNDS = 40  # with one cluster

Values = dict[Any, Any]


def total(seed: int, parts: Any) -> int:
    """A number that depends on all numbers and arrays in nested containers."""
    result = seed
    for part in parts.values() if isinstance(parts, dict) else parts:
        if isinstance(part, (list, tuple, dict)):
            result += total(1, part)
        else:
            result += int(np.sum(part))
    return result % 1_000_003


def nested(seed: int, depth: int) -> int:
    """A number that other tasks help to compute."""
    if not depth:
        return seed % 1000
    here = get_client()
    futures = [here.submit(nested, seed * 3 + i, depth - 1, pure=False) for i in range(2)]
    return sum(here.gather(futures)) if seed % 2 else sum(future.result() for future in as_completed(futures))


def plain_nested(seed: int, depth: int) -> int:
    """The same in one process."""
    return seed % 1000 if not depth else sum(plain_nested(seed * 3 + i, depth - 1) for i in range(2))


class Trouble(threading.Thread):
    """Makes it while a round lasts."""

    def __init__(self, rng: random.Random, kind: str, client: Client, counts: Counter[str]) -> None:
        super().__init__(daemon=True)
        self.rng, self.kind, self.client, self.counts = rng, kind, client, counts
        self.futures: list[Future] = []  # that may be cancelled
        self.killed: set[int] = set()
        self.over = threading.Event()

    def run(self) -> None:
        for _ in range(MOST_DEATHS):
            if self.over.wait(self.rng.random() * 0.04):
                return
            getattr(self, self.kind)()

    def excuse(self, kind: str, word: str, error: BaseException) -> None:
        """Raise an error again, unless it says so and this kind of trouble explains it."""
        if self.kind != kind or word not in str(error):
            raise error

    def none(self) -> None:
        pass

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            victim = self._victim()
            os.kill(victim, signal.SIGKILL)
            self.killed.add(victim)
            self.counts["killed"] += 1

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, IndexError):
            victim = self._victim()
            os.kill(victim, signal.SIGSTOP)
            self.counts["stopped"] += 1
            self.over.wait(self.rng.random() * 0.2)
            os.kill(victim, signal.SIGCONT)

    def _victim(self) -> int:
        return self.rng.choice([worker.pid for worker in self.client.cluster.workers.values()])

    def cancel(self) -> None:
        for future in self.rng.sample(self.futures, min(2, len(self.futures))):
            self.counts["cancelled"] += 1
            future.cancel()

    def interrupt(self) -> None:
        if not self.over.is_set():
            self.over.set()
            self.counts["interrupted"] += 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def scale(self) -> None:
        self.counts["scaled"] += 1
        self.client.cluster.scale(self.rng.randint(1, 4))

    def adapt(self) -> None:
        self.counts["adapted"] += 1
        self.client.cluster.adapt(0, self.rng.randint(1, 4), interval=0.01, wait_count=self.rng.randint(1, 3))

    def retire(self) -> None:
        self.client.cluster.scale(2)  # which ends adapting
        self.counts["retired"] += len(self.client.retire_workers(n=1))


class Soak:
    """Rounds of random work.

    Parameters
    ----------
    threads : how many tasks a worker runs at a time.
    """

    def __init__(self, rng: random.Random, counts: Counter[str], threads: int) -> None:
        self.rng, self.counts = rng, counts
        self.client = Client(n_workers=2, threads_per_worker=threads)
        self.scheduler = self.client.cluster._coordinator.scheduler
        self.works = (self.graph, self.graph, self.calls, self.calls, self.mapped, self.scattered, self.helped)

    def round(self) -> None:
        """Some work, under some trouble."""
        rng = self.rng
        work, kind = rng.choice(self.works), rng.choice(TROUBLES)
        trouble = Trouble(rng, kind, self.client, self.counts)
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            work(trouble)
            trouble.over.set()
            trouble.join()
            pids = {worker.pid for worker in self.client.cluster.workers.values()}
            while trouble.killed & pids:  # what is not noticed yet would be trouble for the next round
                pids = {worker.pid for worker in self.client.cluster.workers.values()}
        except KeyboardInterrupt:
            assert kind == "interrupt", kind
            self.counts["ended early"] += 1
        except Exception as error:
            raise AssertionError(f"{work.__name__}, {kind}: {error}") from error
        finally:
            trouble.over.set()
        self.counts["rounds"] += 1

    # -- kinds of work --------------------------------------------------------------------------------------------

    def graph(self, trouble: Trouble) -> None:
        graph, keys = self._named_apart(*random_graph(self.rng))
        answer = expected(graph, keys)
        self.counts["tasks"] += len(graph)
        if self.rng.random() < 0.7:
            trouble.start()
            assert same(self.client.get(graph, keys), answer)
            return
        trouble.start()
        futures = self.client.get(graph, keys, sync=False)
        trouble.futures = list(futures)
        self._check(trouble, dict(zip(futures, answer, strict=True)))

    def _named_apart(self, graph: dict[Any, Any], keys: list[Any]) -> tuple[dict[Any, Any], list[Any]]:
        """The same with other keys than those of all rounds before: names of futures mean one thing."""
        number = self.counts["rounds"]
        named = {key: (number, *key) for key in graph}
        return {
            named[key]: tuple([named.get(part, part) if isinstance(part, tuple) else part for part in task])
            for key, task in graph.items()
        }, [named[key] for key in keys]

    def calls(self, trouble: Trouble) -> None:
        """Single calls with futures as arguments, also inside of containers; some are given up again."""
        rng, client = self.rng, self.client
        trouble.start()
        answers: dict[Future, Any] = {}
        for number in range(rng.randint(1, 60)):
            inputs = rng.sample(list(answers), min(len(answers), rng.randint(0, 3)))
            values = [answers[future] for future in inputs]
            seed = rng.randrange(1000)
            self.counts["tasks"] += 1
            try:
                if rng.random() < 0.3:
                    future = client.submit(total, seed, {"a": [inputs], "b": (inputs, seed)}, pure=False)
                    answer = total(seed, {"a": [values], "b": (values, seed)})
                else:
                    large = rng.random() < 0.2
                    future = client.submit(combine, seed, 0.002 * rng.random(), large, *inputs, pure=False)
                    answer = combine(seed, 0.0, large, *values)
            except FutureCancelledError:
                assert trouble.kind == "cancel", trouble.kind
                continue
            answers[future] = answer
            trouble.futures = list(answers)
            if number % 7 == 6:
                answers.pop(rng.choice(list(answers)))
                trouble.futures = list(answers)
            del future, inputs
        self._check(trouble, answers)

    def mapped(self, trouble: Trouble) -> None:
        rng = self.rng
        count = rng.randint(1, 300)
        self.counts["tasks"] += 2 * count
        trouble.start()
        large = [rng.random() < 0.05 for _ in range(count)]
        firsts = self.client.map(combine, range(count), [0.0] * count, large, pure=False)
        seconds = self.client.map(lambda i, first: total(i, [first]), range(count), firsts, pure=False)
        trouble.futures = seconds
        del firsts
        self._check(trouble, {seconds[i]: total(i, [combine(i, 0.0, large[i])]) for i in range(count)})

    def scattered(self, trouble: Trouble) -> None:
        """Data that are lost with their worker, which is said then."""
        client = self.client
        data = client.scatter([[i, i + 1] for i in range(4)], broadcast=self.rng.random() < 0.5, hash=False)
        trouble.start()
        sums = [client.submit(total, 0, [one], pure=False) for one in data]
        self.counts["tasks"] += len(sums)
        for i, future in enumerate(sums):
            try:
                assert future.result() == total(0, [[i, i + 1]])
            except taskloom.TaskloomError as error:
                trouble.excuse("kill", "scatter", error)
                self.counts["data lost"] += 1

    def helped(self, trouble: Trouble) -> None:
        seeds = [self.rng.randrange(1000) for _ in range(self.rng.randint(1, 5))]
        depth = self.rng.randint(1, 3)
        trouble.start()
        futures = self.client.map(nested, seeds, [depth] * len(seeds), pure=False)
        self.counts["tasks"] += len(seeds) * 2 ** (depth + 1)
        self._check(trouble, {future: plain_nested(seed, depth) for future, seed in zip(futures, seeds, strict=True)})

    def _check(self, trouble: Trouble, answers: dict[Future, Any]) -> None:
        """Compare results; what was cancelled, and what needs that, may be missing."""
        if trouble.kind != "cancel" and self.rng.random() < 0.5:
            results = self.client.gather(list(answers))
            assert same(results, list(answers.values()))
            return
        for future, answer in answers.items():
            try:
                result = future.result()
            except (FutureCancelledError, taskloom.TaskloomError) as error:
                trouble.excuse("cancel", "cancelled", error)
                self.counts["missing"] += 1
            else:
                assert np.array_equal(result, answer), (future, result, answer)

    # -- the end --------------------------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        """Whether nothing is left of all the work. Called again until it is."""
        gc.collect()
        workers = list(self.scheduler.workers.values())  # of which some are leaving
        busy = [worker for worker in workers if worker.given() or worker.has or worker.held > 1]
        return not (self.scheduler.tasks or self.scheduler.names or busy)

    def close(self) -> None:
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        self._until(lambda: not bus.active, lambda: bus.active)
        self.client.cluster.scale(1)
        assert self.client.get({"end": (abs, -1)}, "end") == 1  # what has failed is kept for a replay until a run ends
        self._until(self.is_empty, lambda: (list(self.scheduler.tasks.values()), self.scheduler.workers))
        self.client.close()
        self._until(lambda: not psutil.Process().children(), psutil.Process().children)

    def _until(self, met: Callable[[], bool], what: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 20
        while not met():
            assert time.monotonic() < deadline, f"it is left: {what()}"
            time.sleep(0.05)


def figures() -> tuple[int, int]:
    """Open files and threads."""
    gc.collect()
    this = psutil.Process()
    return this.num_fds(), this.num_threads()


def main(seconds: float, seed: int) -> None:
    """Run for so long."""
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        soak = Soak(rng, counts, threads=rng.choice([1, 1, 2]))
        for _ in range(ROUNDS):
            if time.monotonic() < deadline:
                soak.round()
        soak.close()
        counts["clusters"] += 1
        before = before or figures()
    faulthandler.cancel_dump_traceback_later()
    gone = time.monotonic() + 20
    while any(now > then for now, then in zip(figures(), before or figures(), strict=True)):
        assert time.monotonic() < gone, f"files and threads: {figures()}, after the first cluster {before}"
        time.sleep(0.1)
    left = [path for path, _, names in os.walk(tempfile.gettempdir()) if names]
    assert not left, left
    print(dict(counts), f"{psutil.Process().memory_info().rss >> 20} MiB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp") as place:  # a short name: sockets want that
        os.environ["TMPDIR"] = tempfile.tempdir = place
        os.environ.pop("XDG_RUNTIME_DIR", None)
        main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6))
