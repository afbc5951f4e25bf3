"""A program: random graphs on worker processes that are killed, stopped and interrupted, against the sync engine.

``python -m tests.engines.soak SECONDS [SEED]`` prints what it did, and ends with an error at the first wrong answer.
"""

import contextlib
import faulthandler
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import psutil

import taskloom

TROUBLES = ("none", "none", "kill", "stop", "cancel", "interrupt")
LONGEST_RUN = 60  # seconds: it hangs
MOST_DEATHS = 2  # in one run: below the retries of a task


def combine(seed: int, seconds: float, large: bool, *inputs: Any) -> Any:
    """A value that depends on all inputs, after some work."""
    if seconds:
        time.sleep(seconds)
    total = seed
    for value in inputs:
        if isinstance(value, np.ndarray):
            total += int(value.sum())
        else:
            total += value
    return np.full(100_000, total % 1_000) if large else total % 1_000_003


def random_graph(rng: random.Random) -> tuple[dict[Any, Any], list[Any]]:
    """A graph, and keys of it."""
    width, depth = rng.randint(1, 12), rng.randint(1, 12)
    slow, large = rng.choice([0.0, 0.0, 0.002]), rng.choice([0.0, 0.1, 0.5])
    graph: dict[Any, Any] = {}
    keys: list[Any] = []
    for level in range(depth):
        row = [("task", level, i) for i in range(width)]
        for key in row:
            inputs = rng.sample(keys, min(len(keys), rng.randint(0, 3)))
            seconds = slow * rng.random()
            graph[key] = (combine, rng.randrange(1000), seconds, rng.random() < large, *inputs)
        keys = [*keys[-2 * width :], *row]
    wanted = rng.sample(list(graph), rng.randint(1, min(5, len(graph))))
    return graph, wanted


class Trouble(threading.Thread):
    """Makes it while a run lasts."""

    def __init__(self, rng: random.Random, kind: str, counts: Counter[str]) -> None:
        super().__init__(daemon=True)
        self.rng, self.kind, self.counts = rng, kind, counts
        self.over = threading.Event()

    def run(self) -> None:
        for _ in range(MOST_DEATHS):
            if self.over.wait(self.rng.random() * 0.03):
                return
            workers = psutil.Process().children()
            if self.kind == "cancel":
                run = taskloom.last_run()
                if run is not None and run.status == "running":
                    self.counts["cancelled"] += 1
                    run.cancel()
                return
            if self.kind == "interrupt":
                self.counts["interrupted"] += 1
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return
            if not workers:
                continue
            victim = self.rng.choice(workers).pid
            with contextlib.suppress(ProcessLookupError):
                if self.kind == "kill":
                    os.kill(victim, signal.SIGKILL)
                    self.counts["killed"] += 1
                elif self.kind == "stop":
                    os.kill(victim, signal.SIGSTOP)
                    self.counts["stopped"] += 1
                    self.over.wait(self.rng.random() * 0.2)
                    os.kill(victim, signal.SIGCONT)


def same(one: Any, other: Any) -> bool:
    """Whether two lists of results are equal."""
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def expected(graph: dict[Any, Any], keys: list[Any]) -> list[Any]:
    """What the sync engine gives, without the sleep."""
    quick = {key: (function, seed, 0.0, *rest) for key, (function, seed, _, *rest) in graph.items()}
    answer: list[Any] = taskloom.get(quick, keys)
    return answer


def main(seconds: float, seed: int) -> None:
    """Run for so long."""
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        graph, keys = random_graph(rng)
        answer = expected(graph, keys)
        kind = rng.choice(TROUBLES)
        trouble = Trouble(rng, kind, counts)
        faulthandler.dump_traceback_later(LONGEST_RUN, exit=True)
        try:
            trouble.start()
            begun = time.monotonic()
            results = taskloom.multiprocessing.get(graph, keys, num_workers=rng.choice([2, 2, 2, 3]))
            trouble.over.set()
            trouble.join()
        except KeyboardInterrupt:
            assert kind in ("cancel", "interrupt"), kind
            took = time.monotonic() - begun
            assert took < 15, took
            counts["ended early"] += 1
            trouble.over.set()
        else:
            if not same(results, answer):
                raise SystemExit(f"seed {seed}, run {counts['runs']}, {kind}: {results} is not {answer}")
        finally:
            trouble.over.set()
        counts["runs"] += 1
        counts["tasks"] += len(graph)
    faulthandler.cancel_dump_traceback_later()
    print(dict(counts))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6))
