"""Who hears of runs: listeners, called on one ticker thread, and the records of the last runs."""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, overload

from taskloom.bus.onlookers import Onlookers, wants
from taskloom.bus.run import Run, presenters
from taskloom.bus.ticker import Clock, Ticker
from taskloom.bus.workers import Sample

if TYPE_CHECKING:
    import psutil

PATIENCE = 1.0  # seconds that one call of a listener may take, and that a run waits for its listeners at its end
KEEP_RUNS = 20
KEEP_FOREIGN = 2
KEEP_ROWS = 300_000  # typical rows of all records but the newest: 64 MiB; a heavy row counts as several
LARGE = 2_000  # rows from which on a record is weighed when the next one ends
KEEP_SAMPLES = 2_000  # per run


class Subscription:
    """A listener on the bus, until `close` is called. Also a context manager."""

    def __init__(self, bus: EventBus, listener: object) -> None:
        self._bus = bus
        self.listener = listener
        self.known: set[int] = set()  # the runs that this listener has been told of

    def close(self) -> None:
        """Stop listening. A call that is under way is not waited for."""
        self._bus.drop(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Subscription of {self.listener!r}{'' if self in self._bus.subscriptions else ', closed'}>"


class Witness(Protocol):
    """Who hears of runs in the place of all listeners, see `witnessed_by`."""

    def run_started(self, run: Run) -> None: ...
    def run_finished(self, run: Run) -> None: ...


class EventBus:
    """Tells listeners of runs, all on the ticker's thread, one call at a time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.subscriptions: tuple[Subscription, ...] = ()
        self.active: list[Run] = []
        self.runs: deque[Run] = deque(maxlen=KEEP_RUNS)  # without those inside tasks: one run may start thousands
        self._newest: Run | None = None  # of those that have ended
        self._untold: set[Run] = set()  # of these, those of whose end listeners have still to hear
        self._lock = threading.Lock()
        self._clock = clock or Clock()
        self._ticker = Ticker(self._tick, self._clock)
        self._call: tuple[Subscription, float] | None = None  # what the ticker is calling, and since when
        self._processes: dict[int, psutil.Process] = {}
        self._holds = 0  # how many want the views to stand still
        self._witness: Witness | None = None
        self.foreign: deque[Run] = deque(maxlen=KEEP_FOREIGN)  # of other clients of a cluster
        self.onlookers = Onlookers()
        self.bursts = 0  # how often `begin_burst` was called
        self._private: dict[int, Witness] = {}  # runs, by their id, that only somebody else hears of

    # -- listeners ------------------------------------------------------------------------------------------------

    def subscribe(self, listener: object) -> Subscription:
        subscription = Subscription(self, listener)
        with self._lock:
            self.subscriptions = (*self.subscriptions, subscription)
        if self.active:
            self._ticker.wake()
        self.onlookers.came(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        with self._lock:
            self.subscriptions = tuple(other for other in self.subscriptions if other is not subscription)
        self.onlookers.went(subscription)

    @contextmanager
    def hold_updates(self) -> Iterator[None]:
        """Tell no listener of progress meanwhile; of ends it is still told, for which a run waits."""
        with self._lock:
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1

    @contextmanager
    def witnessed_by(self, witness: Witness) -> Iterator[None]:
        """Tell this witness, at once and in the thread that computes, of runs that start meanwhile, and nobody else."""
        with self._lock:
            before, self._witness = self._witness, witness
        try:
            yield
        finally:
            with self._lock:
                self._witness = before

    # -- engines --------------------------------------------------------------------------------------------------

    def started(self, run: Run) -> None:
        """Note a run: listeners hear of it at the next tick, or at its end if that comes first."""
        with self._lock:
            witness = self._witness
            if witness is not None:
                self._private[run.id] = witness
            self.active.append(run)
            if run.foreign:
                self.foreign.append(run)
            elif run.parent is None:
                self.runs.append(run)
        if witness is not None:
            witness.run_started(run)
        self._ticker.wake()

    def make_room(self, at_once: bool = True) -> None:
        """Have the run that ended last keep nothing more, as another one has begun: at once only where no lock is held,
        for what goes may have finalizers that compute; else on the ticker's thread."""
        with self._lock:
            old = self._newest
            if old is not None and (not at_once or old in self._untold or _is_large(old)):
                self._ticker.post(old.let_go)
                old = None
        if old is not None:
            old.let_go()  # it stays the newest: if this is interrupted, the end of the run that has begun does the rest

    def finished(self, run: Run) -> None:
        """Note the end of a run and wait, for a limited time, until every listener has heard of it."""
        with self._lock:
            if run in self.active:  # not so if `started` was interrupted, or in a child forked inside a task
                self.active.remove(run)
            witness = self._private.pop(run.id, None)
        listeners = () if witness else [each for each in self.subscriptions if wants(each.listener, run)]
        jobs: list[Callable[[], None]] = []
        if listeners:
            self._untold.add(run)
            told = threading.Lock()
            told.acquire()
            jobs = [partial(self._tell, listener, "run_finished", run) for listener in listeners]
            jobs += [partial(self._untold.discard, run), told.release]
        with self._lock:  # also around `post`, lest another run lets go of this one before its listeners were told
            if run.parent is None and not run.foreign and not _was_over_before(run, self._newest):
                old, self._newest = self._newest, run
            else:  # nobody reaches the record of one inside a task, and that task's run may be the one to replay
                old = run
            if old is not None and (listeners or _is_large(old)):
                jobs.append(partial(self._let_go, old))  # a large one takes a while
                old = None
            if jobs:
                self._ticker.post(*jobs)
        if old is not None:
            old.let_go()  # no lock is held: what goes now may have finalizers that compute
        if listeners and not self._ticker.is_current() and not told.acquire(timeout=PATIENCE):
            self._drop_who_hangs()  # unless this is a listener that computes something itself
        if witness is not None:
            witness.run_finished(run)

    def finish_later(self, run: Run) -> None:
        """The same on the ticker's thread, soon: for a thread that must not wait for listeners."""
        self._ticker.post(partial(self.finished, run))

    def _let_go(self, old: Run) -> None:
        """Keep within bounds: only the newest record keeps its plan, and the oldest lose their rows first."""
        old.let_go()
        if _is_large(old):
            rows: float = KEEP_ROWS
            for run in list(self.runs)[::-1]:
                if run is not self._newest and run.status != "running":
                    weight = run.graph.row_weight()
                    run.trim(int(rows / weight))
                    rows -= len(run.start) * weight

    # -- the ticker's thread --------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        with self._lock:
            active = list(self.active)
            public = [run for run in active if run.id not in self._private]
        self._sample(active)
        for subscription in () if self._holds else self.subscriptions:
            for run in public:
                if self._ticker.is_current() and wants(subscription.listener, run):
                    self._tell(subscription, "run_updated", run)
        for run in active:
            if run.ends_by_itself():
                self.finished(run)
        return bool(active)

    def _tell(self, subscription: Subscription, event: str, run: Run) -> None:
        if run.id not in subscription.known:
            subscription.known.add(run.id)
            self._tell(subscription, "run_started", run)
        if subscription not in self.subscriptions:
            return
        if event == "run_finished":
            subscription.known.discard(run.id)
        begun, starved = self._clock.now(), self._clock.starved()
        self._call = (subscription, begun)
        try:
            method = getattr(subscription.listener, event, None)
            if method is not None:
                method(run)
        except BaseException:  # SystemExit, too, would end the ticker's thread
            self._drop_with_warning(subscription, f"{event} raised:\n{traceback.format_exc()}")
        else:
            took = self._clock.now() - begun - (self._clock.starved() - starved)
            if took > PATIENCE and subscription in self.subscriptions:
                self._drop_with_warning(subscription, f"{event} took over {PATIENCE:g} s.")
        finally:
            if self._ticker.is_current():
                self._call = None

    def _drop_who_hangs(self) -> None:
        call = self._call
        if call is not None and self._clock.now() - call[1] >= PATIENCE / 2:
            self._call = None
            self._ticker.replace()
            self._drop_with_warning(call[0], f"it has not returned for over {PATIENCE:g} s.")

    def _drop_with_warning(self, subscription: Subscription, reason: str) -> None:
        self.drop(subscription)
        listener = object.__repr__(subscription.listener)  # its own might raise, and end this thread
        text = f"taskloom drops the listener {listener}; the run goes on. Reason: {reason}"
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:  # where warnings are errors: nobody up this thread could catch it
            traceback.print_exc()

    def _sample(self, active: list[Run]) -> None:
        """Note what the workers' processes use, each looked at once however many runs it has a part in."""
        readings: dict[int, tuple[float, int] | None] = {}
        for run in active:
            now = run.duration
            held: dict[int, int] = {}  # by process: of several workers in one, the first stands for all
            for worker in run.workers:
                held[worker.pid] = held.get(worker.pid, 0) + worker.held
            for number, worker in enumerate(run.workers if run.sampled_here else ()):
                if worker.left is None and worker.pid in held:
                    if worker.pid not in readings:
                        readings[worker.pid] = self._read(worker.pid)
                    reading = readings[worker.pid]
                    if reading is not None:
                        run.samples.append(Sample(now, number, *reading, held.pop(worker.pid)))
            if len(run.samples) > KEEP_SAMPLES:
                del run.samples[::2]

    def _read(self, pid: int) -> tuple[float, int] | None:
        """CPU in percent since the last reading and memory of a process; None if it has just ended."""
        import psutil

        try:
            process = self._processes.get(pid)
            if process is None:
                process = self._processes[pid] = psutil.Process(pid)
                process.cpu_percent()  # the first call only sets the mark
            with process.oneshot():
                return process.cpu_percent(), process.memory_info().rss
        except psutil.Error:
            self._processes.pop(pid, None)
            return None


def _is_large(run: Run) -> bool:
    """Whether a record may hold more than its share of what all may hold."""
    share = KEEP_ROWS // KEEP_RUNS
    rows = len(run.start)
    return rows > share or (rows > LARGE and rows * run.graph.row_weight() > share)


bus = EventBus()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: bus.__init__())  # type: ignore[misc]  # the thread stays in the parent


def subscribe(listener: object) -> Subscription:
    """Hear of runs.

    Parameters
    ----------
    listener : any object with some of the methods ``run_started(run)``, ``run_updated(run)`` (at most ten times a
        second while the run lasts) and ``run_finished(run)`` (once, also after a failure or interrupt, and before
        the call that computes returns, which waits for it at most one second). All are called on one thread. A
        listener that raises, or takes longer than one second, is dropped with a `RuntimeWarning`.

    Raises
    ------
    TypeError
        The listener has none of these methods.

    Examples
    --------
    >>> import taskloom
    >>> class Count:
    ...     def run_finished(self, run):
    ...         print(run.n_done, "tasks", run.status)
    >>> with taskloom.subscribe(Count()):
    ...     taskloom.get({"a": (abs, -1)}, "a")
    1 tasks finished
    1
    """
    names = {"run_started", "run_updated", "run_finished"}
    if names.isdisjoint(dir(listener)) and not hasattr(type(listener), "__getattr__"):
        raise TypeError(
            f"A listener of type {type(listener).__name__!r} hears nothing: it has no method run_started, run_updated "
            "or run_finished."
        )
    return bus.subscribe(listener)


def hold_updates() -> AbstractContextManager[None]:
    """Let live views stand still inside a ``with`` block, such as while a person types at a prompt.

    Listeners hear of no progress meanwhile, but still of each run's end. Runs go on, and are recorded.

    >>> with hold_updates():
    ...     pass
    """
    return bus.hold_updates()


def begin_burst() -> None:
    """Let futures that are submitted from now on have a record of their own, such as those of a notebook's next cell.

    >>> begin_burst()
    """
    bus.bursts += 1


def witnessed_by(witness: Witness) -> AbstractContextManager[None]:
    """Let one witness, and no listener, hear of the runs that start inside a ``with`` block, such as to measure them.

    Its ``run_started(run)`` and ``run_finished(run)`` are called at once, in the thread that computes. No view draws
    these runs; they are recorded as always.

    >>> import taskloom
    >>> class Witness:
    ...     def run_started(self, run): print("started")
    ...     def run_finished(self, run): print(run.status)
    >>> with taskloom.bus.witnessed_by(Witness()):
    ...     taskloom.get({"a": (abs, -1)}, "a")
    started
    finished
    1
    """
    return bus.witnessed_by(witness)


class RunHistory(Sequence[Run]):
    """The last 20 runs, newest last, without those that were started inside tasks: `taskloom.runs`."""

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return list(bus.runs)[index]

    def __len__(self) -> int:
        return len(bus.runs)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "<no runs yet>"

    def _repr_html_(self) -> str:
        return str(presenters["runs_card"](list(self)))


runs = RunHistory()


def _was_over_before(run: Run, other: Run | None) -> bool:
    """Whether the last task of a run was done before another one ended: a record of futures waits for more."""
    return other is not None and run.zero + run.duration < other.zero + other.duration


def last_run() -> Run | None:
    """The newest run that was not started inside a task of another, or None. What a client submits or persists is one
    run as long as any of it is under way, and half a second longer."""
    newest = list(bus.runs)[-1:]
    return newest[0] if newest else None
