"""A program: runs a small graph many times, with a Ctrl-C at one moment after the other, and looks at what is left.

Python takes a signal when a function begins, after a call of a built-in and when a loop jumps back. A profile function
sees the first two, which is where it raises the KeyboardInterrupt.
"""

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import taskloom
from taskloom.bus import current_run
from taskloom.engines.worker.pool import pool as workers
from tests.engines.cases import PATIENCE, Get, case_named

PACKAGE = str(Path(taskloom.__file__).parent)


class Strike:
    """Raises a KeyboardInterrupt at the moment with the number `moment` that the package's code offers."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        self.where: Any = None

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        code = frame.f_code
        if event not in ("call", "c_return") or not code.co_filename.startswith(PACKAGE) or function is sys.setprofile:
            return
        self.left -= 1
        if self.left < 0 and code.co_name != "<genexpr>":  # an exception in a generator that closes goes nowhere
            sys.setprofile(None)
            self.where = (code.co_filename, frame.f_lineno, event, getattr(function, "__name__", code.co_name))
            raise KeyboardInterrupt


def run_with(strike: Strike, get: Get, dsk: dict[Any, Any]) -> str:
    """Run the graph; returns how it ended."""
    sys.setprofile(strike)
    try:
        get(dsk, "end")
    except KeyboardInterrupt:
        return "KeyboardInterrupt"
    except BaseException as error:
        return repr(error)
    finally:
        sys.setprofile(None)
    return "finished"


def what_is_left(get: Get, registered: int, meet: bool) -> list[str]:
    """What an interrupted run must not leave."""
    left = []
    if current_run.get() is not None:
        left.append("a current run")
    if [run for run in taskloom.runs if run.status == "running"]:
        left.append("a running run")
    if len(taskloom.Callback.active) != registered:
        left.append("callbacks")
    if workers.turns.first() is not None:
        left.append("a turn that is not over")
    if meet:  # not from this thread: whose place counts once, however often it comes
        meeting = threading.Barrier(2)
        answers: list[Any] = []
        dsk = dict.fromkeys("ab", (meeting.wait, PATIENCE))
        thread = threading.Thread(target=lambda: answers.append(get(dsk, ["a", "b"], callbacks=[])))
        thread.start()
        thread.join()
        if not answers:
            left.append("a place that nobody works at")
    return left


def main(name: str, observed: str) -> None:
    dsk: dict[Any, Any] = {("x", i): (abs, -i) for i in range(4)}
    dsk |= {"sum": (sum, list(dsk)), "end": (abs, "sum")}
    wrong = []
    callback = taskloom.Callback(pretask=lambda *_: None, posttask=lambda *_: None)
    if observed == "observed":
        callback.register()
    registered = len(taskloom.Callback.active)
    with case_named(name).open(2) as get:
        get(dsk, "end")
        moment = 0
        while True:
            strike = Strike(moment)
            end = run_with(strike, get, dsk)
            if strike.where is None:
                assert end == "finished", end
                break
            left = what_is_left(get, registered, meet=name == "threads")
            if end != "KeyboardInterrupt" or left:
                wrong.append((strike.where, end, left))
                break
            moment += 1
    assert not wrong, wrong
    assert moment > 100, "it struck hardly anywhere"
    print("fine")


if __name__ == "__main__":
    main(*sys.argv[1:])
