"""Running a cell on one engine after the other, with the namespace each time as it was before."""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from math import isnan, nan
from threading import Timer
from types import CodeType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.bus import Run
from taskloom.engines.base import workers_wanted
from taskloom.notebook.cell_code import run_code
from taskloom.notebook.contenders import Contender
from taskloom.views.comparison import Comparison, EngineTrials, Trial
from taskloom.views.labels import duration, error_label
from taskloom.views.palette import name_colors
from taskloom.views.progress import NameCount, ProgressState

Namespace = dict[str, Any]


class CellTrials:
    """A cell that is run several times on each of some engines.

    Parameters
    ----------
    code : code object
    shell : InteractiveShell
        Whose variables the cell finds and sets.
    engines : list of Contender
    repetitions : int
    limit : float
        Seconds that an engine may take for all its repetitions.
    """

    def __init__(
        self, code: CodeType, shell: InteractiveShell, engines: list[Contender], repetitions: int, limit: float
    ) -> None:
        self._code = code
        self._namespace: Namespace = shell.user_ns
        self._publisher = shell.display_pub
        self._repetitions = repetitions
        self._limit = limit
        self._contenders = {contender.name: contender for contender in engines}
        self._rows = {name: EngineTrials(name) for name in self._contenders}
        self._assigned: Namespace = {}  # what the cell set, the last time that it finished
        self._over: set[str] = set()  # engines that had their time
        self._watch: _Watch | None = None
        self._stopped = False
        self._begun = time.perf_counter()

    @property
    def comparison(self) -> Comparison:
        """What is known so far."""
        return Comparison(list(self._rows.values()))

    def cancel(self) -> None:
        """Stop, from any thread: `run` raises KeyboardInterrupt as soon as the cell computes."""
        self._stopped = True
        watch = self._watch
        if watch is not None:
            watch.cancel()

    def state(self, running: str = "") -> ProgressState:
        """How far it is, for a progress bar that counts trials by engine; `running` is the engine that runs."""
        rows = list(self._rows.values())
        colors = name_colors(self._rows)
        names = [
            NameCount(name=row.engine, color=colors[row.engine], total=self._wanted(row), done=len(row.trials))
            for row in rows
        ]
        done, total = sum(name["done"] for name in names), sum(name["total"] for name in names)
        elapsed = time.perf_counter() - self._begun
        return ProgressState(
            status="running" if running else "cancelled" if self._stopped else "finished" if done else "failed",
            engine="%compare",
            total=total,
            done=done,
            failed=0,
            elapsed=elapsed,
            remaining=None,
            remaining_low=None,
            remaining_high=None,
            names=names,
            exact=True,
            count_text=f"{done}/{total}",
            time_text=f"running on {running}" if running else duration(elapsed),
            note_text="stopped" if self._stopped and not running else "",
            failure_text="",
        )

    def _wanted(self, row: EngineTrials) -> int:
        return len(row.trials) if row.problem or row.engine in self._over else self._repetitions

    def run(self, on_trial: Callable[[str], None]) -> None:
        """Run all trials; call ``on_trial(engine)`` before each.

        Afterwards the namespace holds what the cell set the last time that it finished, as if it had run once.
        """
        self._begun = time.perf_counter()
        for row in self._rows.values():
            reason = self._contenders[row.engine].unavailable
            row.problem = f"not available: {reason}" if reason else ""
            if not reason:
                self._warm_up(row)
        for _ in range(self._repetitions):
            engines = list(self._rows)
            random.shuffle(engines)
            for engine in engines:
                self._end_if_stopped()
                if engine not in self._over and not self._rows[engine].problem:
                    on_trial(engine)
                    self._try(self._rows[engine])
        self._namespace.update(self._assigned)

    def _warm_up(self, row: EngineTrials) -> None:
        """Have the engine start its workers, which is not the cell's work."""
        tasks = {("warm-up", i): (time.sleep, 0.01) for i in range(2 * workers_wanted(None))}
        with _Watch(self._limit) as watch, _quiet(self._contenders[row.engine], self._publisher) as get:
            self._watch = watch
            self._end_if_stopped()
            try:
                get(tasks, list(tasks))
            except KeyboardInterrupt:
                if self._stopped or not watch.expired:
                    raise
                self._end_at_limit(row)

    def _try(self, row: EngineTrials) -> None:
        finished = False
        left = self._limit - sum(trial.seconds for trial in row.trials)
        quiet = _quiet(self._contenders[row.engine], self._publisher)
        with _kept(self._namespace) as assigned, _Watch(left) as watch, quiet:
            self._watch = watch
            self._end_if_stopped()  # before there was something to cancel
            cpu, begun = time.process_time(), time.perf_counter()
            try:
                run_code(self._code, self._namespace, watch.cancel)
            except KeyboardInterrupt:
                if self._stopped or not watch.expired:
                    self._stopped = True
                    raise
                self._end_at_limit(row)
            except Exception as error:
                row.problem = f"failed: {error_label(error)}"
            else:
                finished = True
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        if finished:
            row.trials.append(_trial(seconds, cpu, watch.runs))
            row.used |= {run.engine for run in watch.runs}
            self._assigned = assigned

    def _end_if_stopped(self) -> None:
        if self._stopped:
            raise KeyboardInterrupt("%compare was stopped")

    def _end_at_limit(self, row: EngineTrials) -> None:
        self._over.add(row.engine)
        if row.trials:
            row.limit_note = f"{len(row.trials)} of {self._repetitions} times: the limit of {self._limit:g} s was over"
        else:
            row.problem = f"took longer than the limit of {self._limit:g} s"


@contextmanager
def _kept(namespace: Namespace) -> Iterator[Namespace]:
    """Put variables back to what they were; gives a dictionary that holds afterwards what was set in between."""
    before = dict(namespace)
    assigned: Namespace = {}
    try:
        yield assigned
    finally:
        missing = object()
        changed = [name for name, value in namespace.items() if before.get(name, missing) is not value]
        assigned.update({name: namespace.pop(name) for name in changed})
        namespace.update({name: value for name, value in before.items() if name not in namespace})


@contextmanager
def _quiet(contender: Contender, publisher: Any) -> Iterator[Any]:
    """The engine in force, without output; gives its ``get(dsk, keys)``.

    IPython's own ``capture_output`` would put objects in the place of the kernel's that cannot take messages from a
    page: Stop would wait until the cell ends.
    """
    silent = redirect_stdout(StringIO()), redirect_stderr(StringIO())
    with silent[0], silent[1], _hidden_displays(publisher), contender.in_force() as get:
        yield get


@contextmanager
def _hidden_displays(publisher: Any) -> Iterator[None]:
    """Without what ``display`` sends to a page; in a terminal it prints."""
    if not hasattr(publisher, "register_hook"):
        yield
        return

    def hide(_message: object) -> None: ...

    publisher.register_hook(hide)
    try:
        yield
    finally:
        publisher.unregister_hook(hide)


class _Watch:
    """Collects the runs of a trial, and cancels them when its time is up.

    Nobody else hears of them, so that views are not measured.

    Parameters
    ----------
    limit : float
        Seconds.
    """

    def __init__(self, limit: float) -> None:
        self.expired = False
        self._over = False
        self.runs: list[Run] = []
        self._active: dict[int, Run] = {}
        self._timer = Timer(max(0.0, limit), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> _Watch:
        self._alone = bus.witnessed_by(self)
        self._alone.__enter__()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._alone.__exit__(None, None, None)
        self._timer.cancel()
        self._timer.join()

    def cancel(self) -> None:
        """Stop what runs, and what will."""
        self._over = True
        for run in list(self._active.values()):
            run.cancel()

    def _expire(self) -> None:
        self.expired = True
        self.cancel()

    def run_started(self, run: Run) -> None:
        """Note a run, which has no time left if it comes late."""
        self._active[run.id] = run
        if self._over:
            run.cancel()

    def run_finished(self, run: Run) -> None:
        """Keep the record of a run that was not started inside another."""
        self._active.pop(run.id, None)
        if run.parent is None:
            self.runs.append(run)


def _trial(seconds: float, cpu: float, runs: list[Run]) -> Trial:
    busy = sum(map(_busy, runs))
    available = sum(run.duration * sum(worker.threads for worker in run.workers) for run in runs)
    return Trial(
        seconds=seconds,
        cpu=cpu + sum(map(_cpu_elsewhere, runs)),
        peak_memory=max(map(_peak_memory, runs), default=nan),
        overhead=max(0.0, 1 - busy / available) if available else nan,
        tasks=sum(run.n_done for run in runs),
        busy=busy,
    )


def _busy(run: Run) -> float:
    """Seconds in tasks, summed over workers."""
    known = sum(stop - start for start, stop in zip(run.start, run.stop, strict=True) if stop)
    return known + sum(seconds for _, seconds in run.dropped.values())


def _cpu_elsewhere(run: Run) -> float:
    """CPU seconds of tasks in other processes, as far as they were measured."""
    away = {number for number, worker in enumerate(run.workers) if worker.pid != os.getpid()}
    if not away:
        return 0.0
    columns = run.tasks
    return sum(
        cpu for cpu, worker in zip(columns.cpu, columns.worker, strict=True) if worker in away and not isnan(cpu)
    )


def _peak_memory(run: Run) -> float:
    together: defaultdict[float, int] = defaultdict(int)
    for sample in run.samples:
        together[sample.time] += sample.rss
    return float(max(together.values())) if together else nan
