"""A program: a client makes a few calls many times, with a Ctrl-C at one moment after the other.

Whatever moment it is, the same calls give their answers afterwards, what they have submitted is forgotten, and the
records of all of them end.
"""

import gc
import itertools
import sys
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from taskloom.bus.event_bus import bus
from taskloom.distributed import Client
from tests.engines.cases import PATIENCE
from tests.engines.strike_anywhere import Strike


class StrikeOutside(Strike):
    """Spares finalizers: what is raised there goes nowhere, and Python says so."""

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        outer: FrameType | None = frame
        while outer is not None:
            if outer.f_code.co_name == "__del__":
                return
            outer = outer.f_back
        super().__call__(frame, event, function)


def double(x: Any) -> Any:
    return [x, x]


def held_last(client: Client, number: int) -> Any:
    """The result of a graph's last task, under a name that nobody has had: the others are done for it only."""
    first, last = ("first", number), ("last", number)
    return client.get({first: (double, 1), last: (len, [first])}, last, sync=False).result()


def calls(client: Client) -> dict[str, Callable[[], Any]]:
    """What is done, by name."""
    numbers = itertools.count()
    return {
        "submit": lambda: client.submit(double, client.submit(double, [1])).result(),
        "map": lambda: client.gather(client.map(double, range(3))),
        "scatter": lambda: client.gather(client.scatter([[1], [2]])),
        "get": lambda: client.get({"a": (double, 1), "b": (len, ["a", "a"])}, ["a", "b"]),
        "hold": lambda: [f.result() for f in client.get({"h": (double, 1), "i": (len, ["h"])}, ["h", "i"], sync=False)],
        "hold the last": lambda: held_last(client, next(numbers)),
        "lambda": lambda: client.submit(lambda x: x + 1, 4).result(),
    }


def wait_for(met: Callable[[], bool], where: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, where
        gc.collect()
        time.sleep(0.02)


def main(name: str) -> None:
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    client = Client(n_workers=1, threads_per_worker=1)
    call = calls(client)[name]
    expected = call()
    kept = []  # as a notebook keeps the last traceback, and with it all that its frames hold
    moment = 0
    while True:
        strike = StrikeOutside(moment)
        sys.setprofile(strike)
        try:
            call()
        except KeyboardInterrupt as error:
            kept[:] = [error]
        finally:
            sys.setprofile(None)
        if strike.where is None:
            break
        if strike.where[0].endswith("session.py"):  # what was to be given up there is, by nobody's help
            kept.clear()
            wait_for(lambda: not client.cluster._coordinator.scheduler.tasks, strike.where)
        answer = call()
        assert answer == expected, (strike.where, answer)
        moment += 1
    kept.clear()
    wait_for(lambda: not bus.active, bus.active)
    client.close()
    assert moment > 50, moment
    print("fine")


if __name__ == "__main__":
    main(sys.argv[1])
