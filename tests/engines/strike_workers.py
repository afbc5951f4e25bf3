"""A program: Ctrl-C, twice in a row, at random moments of runs on worker processes, some of which were killed just now.

The second one comes while the first is being cleaned up after. Whatever happens, the next run has its workers, and
there are no others.
"""

import random
import sys
from functools import partial
from types import FrameType
from typing import Any

import psutil

import taskloom
from taskloom.engines.worker.pool import pool as workers
from tests.engines.cases import processes
from tests.engines.strike_anywhere import Strike, run_with

WORKERS = 2


class TwoStrikes(Strike):
    """Raises a KeyboardInterrupt at one moment, and another one `gap` moments later."""

    def __init__(self, moment: int, gap: int) -> None:
        super().__init__(moment)
        self.second: Strike | None = Strike(gap)

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        try:
            super().__call__(frame, event, function)
        except KeyboardInterrupt:
            sys.setprofile(self.second)
            raise


def main(observed: str, kill: str, times: int) -> None:
    rng = random.Random(f"{observed} {kill}")
    dsk: dict[Any, Any] = {("x", i): (abs, -i) for i in range(4)}
    dsk |= {"sum": (sum, list(dsk)), "end": (abs, "sum")}
    watching = observed == "observed"
    callbacks = [taskloom.Callback(pretask=lambda *_: None)] if watching else []
    this = psutil.Process()
    interrupted = 0
    with processes(WORKERS) as get:
        get = partial(get, callbacks=callbacks)
        get(dsk, "end")
        for _ in range(times):
            if kill == "kill":
                rng.choice(this.children()).kill()
            strike = TwoStrikes(rng.randrange(1500 if watching else 600), rng.randrange(80))
            end = run_with(strike, get, dsk)
            interrupted += strike.where is not None
            assert end == ("finished" if strike.where is None else "KeyboardInterrupt"), (end, strike.where)
            assert workers.turns.first() is None, strike.where
            assert get(dsk, "end") == 6
            assert len(this.children()) <= WORKERS, (strike.where, this.children())
    assert not this.children(), this.children()
    assert interrupted > times / 5, interrupted
    print("fine")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
