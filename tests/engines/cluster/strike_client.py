"""A program: a client makes a few calls many times, with a Ctrl-C at one moment after the other.

Whatever moment it is, the same calls give their answers afterwards.
"""

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from taskloom.distributed import Client
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


def calls(client: Client) -> dict[str, Callable[[], Any]]:
    """What is done, and what it gives, as a text."""
    return {
        "submit": lambda: client.submit(double, client.submit(double, [1])).result(),
        "map": lambda: client.gather(client.map(double, range(3))),
        "scatter": lambda: client.gather(client.scatter([[1], [2]])),
        "get": lambda: client.get({"a": (double, 1), "b": (len, ["a", "a"])}, ["a", "b"]),
        "hold": lambda: [f.result() for f in client.get({"h": (double, 1), "i": (len, ["h"])}, ["h", "i"], sync=False)],
        "lambda": lambda: client.submit(lambda x: x + 1, 4).result(),
    }


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
        answer = call()
        assert answer == expected, (strike.where, answer)
        moment += 1
    client.close()
    assert moment > 50, moment
    print("fine")


if __name__ == "__main__":
    main(sys.argv[1])
