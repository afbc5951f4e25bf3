"""The ticker, with a clock that only the test moves."""

import random
import threading
from collections.abc import Callable
from itertools import pairwise
from time import monotonic, sleep

import pytest

from taskloom.bus import ticker as ticker_module
from taskloom.bus.ticker import INTERVAL, QUIET_TICKS, Clock, Ticker

PATIENCE = 20.0  # seconds until a test gives up


class ManualClock(Clock):
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timeouts: list[float | None] = []  # of each wait
        self._waiting = threading.Semaphore(0)
        self._condition: threading.Condition | None = None

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        self._condition = condition
        self._waiting.release()
        condition.wait()

    def settle(self) -> None:
        """Wait until the ticker waits, for the first time since it was last seen doing so."""
        assert self._waiting.acquire(timeout=PATIENCE), "the ticker does not wait"

    def advance(self, seconds: float) -> None:
        """Let time pass for a ticker that waits, and wait until it does so again."""
        assert self._condition is not None
        with self._condition:
            self.time += seconds
            self._condition.notify()
        self.settle()


class Watched:
    """A ticker, its clock, and when it ticked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.busy = True
        self.ticks: list[float] = []
        self.ticker = Ticker(self._tick, self.clock)

    def _tick(self) -> bool:
        self.ticks.append(self.clock.time)
        return self.busy

    def fall_asleep(self) -> None:
        self.busy = False
        for _ in range(QUIET_TICKS + 1):
            self.clock.advance(INTERVAL)
        assert self.clock.timeouts[-1] is None


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_runs_before_it_is_needed(watched: Watched) -> None:
    before = threading.active_count()
    assert watched.ticker is not None
    assert threading.active_count() == before


def test_ticks_come_every_interval_and_no_sooner(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    for _ in range(40):
        watched.clock.advance(INTERVAL / 4)
    gaps = [later - tick for tick, later in pairwise([0.0, *watched.ticks])]
    assert len(gaps) in range(8, 11)  # a tick may fall into the next quarter
    assert min(gaps) > INTERVAL * 0.999


def test_missed_ticks_are_not_made_up_for(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    watched.clock.advance(100 * INTERVAL)
    assert len(watched.ticks) == 1
    watched.clock.advance(INTERVAL / 2)
    assert len(watched.ticks) == 1
    watched.clock.advance(INTERVAL / 2)
    assert len(watched.ticks) == 2


def test_waking_it_again_and_again_brings_no_more_ticks(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    for _ in range(100):
        watched.ticker.wake()
    watched.clock.advance(INTERVAL / 2)
    assert watched.ticks == []


def test_it_sleeps_when_there_is_nothing_to_watch_and_wakes_again(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    watched.fall_asleep()
    ticks = len(watched.ticks)
    watched.clock.advance(1000)
    assert len(watched.ticks) == ticks, "asleep: time alone does not wake it"

    watched.busy = True
    watched.ticker.wake()
    watched.clock.settle()
    watched.clock.advance(INTERVAL)
    assert len(watched.ticks) == ticks + 1
    assert watched.clock.timeouts[-1] is not None


def test_a_tick_with_something_to_watch_keeps_it_awake(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    for _ in range(3):
        watched.busy = False
        for _ in range(QUIET_TICKS - 1):
            watched.clock.advance(INTERVAL)
        watched.busy = True
        watched.clock.advance(INTERVAL)
    assert None not in watched.clock.timeouts


def test_what_begins_just_as_it_falls_asleep_is_seen() -> None:
    """`wake` finds it still awake, and so does nothing; the tick under way has looked already."""
    clock = ManualClock()
    ticks = 0
    busy = False

    def tick() -> bool:
        nonlocal ticks, busy
        ticks += 1
        seen = busy
        if ticks == QUIET_TICKS + 1:
            busy = True
            ticker.wake()
        return seen

    ticker = Ticker(tick, clock)
    ticker.wake()
    clock.settle()
    for _ in range(QUIET_TICKS + 1):
        clock.advance(INTERVAL)
    assert None not in clock.timeouts, "it stays awake"


def test_jobs_run_at_once_in_order_on_the_tickers_thread(watched: Watched) -> None:
    ran: list[tuple[int, bool]] = []
    over = threading.Event()
    for i in range(100):
        watched.ticker.post(lambda i=i: ran.append((i, watched.ticker.is_current())))  # type: ignore[misc]
    watched.ticker.post(over.set)
    assert over.wait(PATIENCE)
    assert ran == [(i, True) for i in range(100)]
    assert not watched.ticker.is_current()
    assert watched.ticks == []


def test_a_job_is_done_while_the_ticker_sleeps(watched: Watched) -> None:
    watched.ticker.wake()
    watched.clock.settle()
    watched.fall_asleep()
    done = threading.Event()
    watched.ticker.post(done.set)
    assert done.wait(PATIENCE)


def test_a_job_may_post_another(watched: Watched) -> None:
    done = threading.Event()
    watched.ticker.post(lambda: watched.ticker.post(done.set))
    assert done.wait(PATIENCE)


def test_a_thread_that_hangs_in_a_job_is_replaced(watched: Watched) -> None:
    hangs, go_on, after = threading.Event(), threading.Event(), threading.Event()
    first: list[threading.Thread] = []

    def hang() -> None:
        first.append(threading.current_thread())
        hangs.set()
        go_on.wait(PATIENCE)

    watched.ticker.post(hang)
    assert hangs.wait(PATIENCE)
    watched.ticker.post(after.set)
    watched.ticker.replace()
    assert after.wait(PATIENCE), "the new thread does what was posted"
    go_on.set()
    first[0].join(PATIENCE)
    assert not first[0].is_alive(), "the old one ends as soon as it can"


def until(condition: Callable[[], bool]) -> bool:
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.0005)
    return True


def test_no_wake_up_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a wake-up falls between two quiet ticks: something to watch is seen."""
    monkeypatch.setattr(ticker_module, "INTERVAL", 0.0002)
    monkeypatch.setattr(ticker_module, "QUIET_TICKS", 1)
    watching = False
    seen = threading.Event()

    def tick() -> bool:
        if watching:
            seen.set()
        return watching

    ticker = Ticker(tick)
    pause = random.Random(1)
    for _ in range(1000):
        watching = True
        ticker.wake()
        assert seen.wait(PATIENCE), "the wake-up was lost"
        watching = False
        seen.clear()
        sleep(pause.random() * 0.001)  # around the time it takes to fall asleep
    thread_count = threading.active_count()
    ticker.wake()
    assert threading.active_count() == thread_count, "one thread serves them all"


def test_no_job_is_lost_when_many_threads_post(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker_module, "INTERVAL", 0.0002)
    monkeypatch.setattr(ticker_module, "QUIET_TICKS", 1)
    ticker = Ticker(lambda: False)
    done: list[tuple[int, int]] = []

    def post(who: int) -> None:
        pause = random.Random(who)
        for i in range(200):
            ticker.post(lambda i=i: done.append((who, i)))  # type: ignore[misc]
            sleep(pause.random() * 0.001)

    threads = [threading.Thread(target=post, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: len(done) == 800)
    for who in range(4):
        assert [i for other, i in done if other == who] == list(range(200))


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_a_thread_that_did_not_start_is_tried_again(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    ticker = Ticker(lambda: False)
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise error

    monkeypatch.setattr(threading.Thread, "start", refuse)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            ticker.post(done.set)
    else:
        ticker.post(done.set)
    ticker.wake()
    assert done.wait(PATIENCE), "what was posted is done by the next thread"
