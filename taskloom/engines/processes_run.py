"""One run on worker processes, seen from the thread that called."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from math import ceil, nan
from time import perf_counter, sleep
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.measure import LONG
from taskloom.engines.processes_parts import Parts, describe
from taskloom.engines.processes_stock import NOWHERE, Stock
from taskloom.engines.worker.failure import unpack_error
from taskloom.engines.worker.page import LIMIT, NEVER, POSITION, RUN, STARTED
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.pool import WorkerPool, WorkerProcess
from taskloom.errors import SerializationError, TaskloomError, WorkerDied
from taskloom.graph import Plan

FIRST_LOOK = 0.0003  # seconds after which the caller looks whether others should help
LAST_LOOK = 0.02
WORTH_SHARING = 4e-6  # seconds: shorter tasks are run by one worker, as it takes others longer to be told of them
WORTH_A_STEAL = 0.0005  # seconds of work in a queue
HORIZON = 0.003  # seconds of work that a worker should have in its queue
SETTLES = 5e-5  # seconds in which what one process writes to a page is seen by the other, and more
LARGE = 65_536  # bytes: of such results the worker is told at once that they are not wanted any more
IN_TRANSIT = -3  # the place of a task whose inputs are on their way


class Hand:
    """A worker in this run: its queue, by position."""

    def __init__(self, worker: WorkerProcess, run: int, number: int, index: int) -> None:
        self.worker = worker
        self.run = run
        self.number = number  # among the run's workers
        self.index = index  # among the hands
        self.queue: list[int] = []  # all that it was ever given; NOWHERE for what was taken back
        self.sent = 0  # the position up to which it has been told
        self.reported = 0  # ... and up to which it is done
        self.left = 0  # how many are in the queue and not done
        self.seen = -1.0  # the limit that it knows to be over
        self.fresh = 0  # the first position behind what was last taken back
        self.begun = 0  # ... up to which it seemed to have begun when that was
        self.known: set[int] = set()  # the parts of the plan that it has
        self.functions: set[int] = set()
        self.copies: set[int] = set()  # results of others that it has
        self.dropped: list[int] = []
        self.asked = -1  # the position at which it was asked for a report

    def running(self) -> int:
        """The position that it runs, or -1."""
        page = self.worker.page
        return int(page[POSITION]) if page[RUN] == self.run else -1


class Running(Collection[int]):
    """The tasks that run right now, as the workers' pages say."""

    def __init__(self, hands: list[Hand], run: Run) -> None:
        self._hands = hands
        self._run = run

    def _found(self) -> list[int]:
        found = []
        for hand in list(self._hands):
            try:
                page = hand.worker.page
                position, started = int(page[POSITION]), page[STARTED]
                if page[RUN] != hand.run or not hand.reported <= position < len(hand.queue):
                    continue
            except ValueError:  # its page was given up just now
                continue
            task = hand.queue[position]
            if task >= 0 and not self._run.stop[task]:
                self._run.start[task] = started
                self._run.worker[task] = hand.number
                found.append(task)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __contains__(self, task: object) -> bool:
        return task in self._found()


class ProcessesRun:
    """One run. At first a single worker has the plan in its order, as on the sync engine; when that takes long enough
    for others to help, stock is taken, and what has not begun is shared out."""

    def __init__(
        self, plan: Plan, run: Run, pool: WorkerPool, num_workers: int, retries: int, memory_limit: float
    ) -> None:
        self.plan = plan
        self.run = run
        self.pool = pool
        self.number = pool.next_run()
        self.retries = retries
        self.memory_limit = memory_limit
        self.parts = Parts(plan)
        self.results = plan.results()
        self.here = bytearray(len(plan))  # per task whether its value is in `results`
        self.parcels: dict[int, Parcel] = {}
        self.left = len(plan)
        self.done = bytearray(len(plan))
        self.stock: Stock | None = None
        self.waiting: dict[int, list[tuple[int, Hand]]] = {}  # tasks by a result that has been sent for
        self.attempts: dict[int, int] = {}
        self.mean = 0.0  # seconds that a task takes
        self.held = 0.0  # bytes of large results
        self.look = FIRST_LOOK
        self.hands = [self._hand(worker, index) for index, worker in enumerate(pool.ensure(num_workers))]
        self.run.current = Running(self.hands, run)

    def _hand(self, worker: WorkerProcess, index: int) -> Hand:
        worker.page[LIMIT] = NEVER
        return Hand(worker, self.number, self.run.join(worker.name, worker.pid), index)

    # -- the loop -------------------------------------------------------------------------------------------------

    def execute(self) -> list[Any]:
        __tracebackhide__ = True
        run, pool = self.run, self.pool
        run.on_cancel(pool.wake)
        patience = 0.35  # seconds that workers get to stop; none where they have nothing to do
        try:
            self._go_on()
            while self.left:
                if run.stopped:
                    raise run.cancelled()
                events = pool.wait(self.look)
                if events:
                    self._take_in(events)
                    self.look = FIRST_LOOK
                else:
                    self.look = min(2 * self.look, LAST_LOOK)
                self._go_on(looked=not events)
            if run.stopped:
                raise run.cancelled()
            patience = 0.0
            return self._answer()
        finally:
            try:
                if patience or self.stock is not None or self.parcels or self.parts.nbytes > LARGE:
                    pool.settle(self.number, patience)
                if patience:
                    self._copy_output()
            finally:
                self.parts.close()
                for parcel in self.parcels.values():
                    parcel.close()

    def _answer(self) -> list[Any]:
        for slot in dict.fromkeys(self.plan.requested):
            if slot >= 0 and not self.here[slot]:
                try:
                    self.results[slot] = self.parcels[slot].value()
                except Exception as error:
                    raise self._fail(slot, _unusable("The result", self.plan, slot, error)) from error
        return self.results

    def _take_in(self, events: Sequence[tuple[WorkerProcess | None, str]]) -> None:
        __tracebackhide__ = True
        # A worker writes what a task prints before it reports the task, and reports before it ends.
        for worker, what in sorted(events, key=_urgency) if len(events) > 1 else events:
            hand = next((hand for hand in self.hands if hand.worker is worker), None)
            if hand is None or worker is None:
                continue
            if what == "work":
                self._hear(hand, worker.receive())
            elif what == "end":
                while (message := worker.receive()) is not None:
                    self._hear(hand, message)
                self._bury(hand)
            elif text := self._copy(worker, what):
                del text
            elif worker.fate() is None:
                self.pool.stop_watching_output(worker, what)

    def _hear(self, hand: Hand, message: tuple[str, tuple[Any, ...], list[Parcel]] | None) -> None:
        __tracebackhide__ = True
        if message is None:
            return
        kind, (number, *fields), parcels = message
        if number < 0 and kind == "failed":  # the initializer
            raise unpack_error(fields[3])
        if number != self.number:  # of a run that is over
            for parcel in parcels:
                parcel.close()
        elif kind == "report":
            self._on_report(hand, *fields, parcels)
        elif kind == "failed":
            self._on_failed(hand, *fields)
        elif kind == "returned":
            self._on_returned(hand, *fields)
        elif kind == "data":
            self._on_data(fields[0], parcels[0])
        elif kind == "no_data":
            slot = fields[0]
            if slot in self.waiting:
                error = unpack_error(fields[1])
                raise self._fail(slot, _unusable("The result", self.plan, slot, error)) from error

    def _on_report(
        self,
        hand: Hand,
        first: int,
        times: list[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        numbers: dict[int, int],
        errors: dict[int, bytes],
        cpu: float,
        parcels: list[Parcel],
    ) -> None:
        __tracebackhide__ = True
        run = self.run
        n = len(times) // 2
        tasks = hand.queue[first : first + n]
        starts, stops = times[::2], times[1::2]
        hand.reported = first + n
        hand.left -= n
        spent = sum(stops) - sum(starts)
        self.mean = spent / n if not self.mean else (self.mean + spent / n) / 2
        again = self.attempts  # only where a worker died some tasks are done for the second time
        if tasks[-1] - tasks[0] == n - 1 and self.stock is None:
            run.start[tasks[0] : tasks[0] + n], run.stop[tasks[0] : tasks[0] + n] = starts, stops
        else:
            for task, start, stop in zip(tasks, starts, stops, strict=True):
                run.start[task], run.stop[task] = start, stop
        if hand.number:
            for task in tasks:
                run.worker[task] = hand.number
        if again:
            counted = set(run.done)
            run.done.extend([task for task in tasks if task not in counted])
        else:
            run.done.extend(tasks)
        results, here = self.results, self.here
        for task, value in values.items():
            results[task] = value
            here[task] = 1
        for task, number in numbers.items():
            self.parcels[task] = parcels[number]
        if spent > n * LONG or sizes:
            for task, start, stop in zip(tasks, starts, stops, strict=True):
                if stop - start > LONG:
                    run.long[task] = (min(cpu, stop - start) if n == 1 else nan, sizes.get(task, nan))
        for task, packed in errors.items():
            error = unpack_error(packed)
            raise self._fail(task, _unusable("The result", self.plan, task, error)) from error
        self.left -= n
        if self.stock is None:
            for task in tasks:
                self.done[task] = 1
            if any(size > LARGE for size in sizes.values()):
                self._share()
                self._held(sizes)
        else:
            self._held(sizes)
            for task in tasks:
                self._release(self.stock.finish(task))

    def _held(self, sizes: dict[int, float]) -> None:
        assert self.stock is not None
        for task, size in sizes.items():
            if size:
                self.stock.sizes[task] = size
                self.held += size

    def _release(self, dead: list[int]) -> None:
        """Let go of results that nobody takes any more; a worker that ran all users has done so itself."""
        assert self.stock is not None
        for slot in dead:
            if slot in self.parts.requested:
                continue
            size = self.stock.sizes.pop(slot, 0.0)
            self.held -= size
            parcel = self.parcels.pop(slot, None)
            if parcel is not None:
                parcel.close()
            if self.here[slot]:
                self.results[slot] = None
            for hand in self.hands:
                if slot in hand.copies or self.stock.place[slot] == hand.index:
                    hand.copies.discard(slot)
                    if size > LARGE:
                        hand.worker.ask("drop", self.number, [slot])
                    else:
                        hand.dropped.append(slot)

    def _on_failed(self, hand: Hand, task: int, start: float, stop: float, packed: bytes) -> None:
        __tracebackhide__ = True
        error = unpack_error(packed)
        run = self.run
        if task >= 0:
            run.start[task] = start
            run.worker[task] = hand.number
            run.fail(task, self.plan, error, self._inputs(task, hand))
        raise error

    def _inputs(self, task: int, hand: Hand) -> list[Any]:
        """The arguments that a task had, brought here for its replay; as far as they can be."""
        with contextlib.suppress(Exception):
            arg = self.plan.args[task]
            slots = (arg,) if arg.__class__ is int else arg
            missing = {s for s in slots if s >= 0 and not self.here[s] and s not in self.parcels}
            for slot in missing:
                hand.worker.ask("fetch", self.number, slot)
            deadline = perf_counter() + 2
            while missing and perf_counter() < deadline and hand.worker.fate() is None:
                for worker, what in self.pool.wait(0.1):
                    message = worker.receive() if worker is not None and what == "work" else None
                    if message is not None and message[0] == "data" and message[1][0] == self.number:
                        self.parcels[message[1][1]] = message[2][0]
                        missing.discard(message[1][1])
                    elif message is not None and message[0] == "no_data":
                        return []
            values = {s: self.parcels[s].value() for s in slots if s >= 0 and not self.here[s]}
            return [values[s] if s in values else self.results[s] for s in slots]
        return []

    def _fail(self, task: int, error: TaskloomError) -> TaskloomError:
        self.run.fail(task, self.plan, error, ())
        return error

    # -- sharing --------------------------------------------------------------------------------------------------

    def _go_on(self, looked: bool = False) -> None:
        """Give work to those who can take it."""
        __tracebackhide__ = True
        if not self.left:
            return
        if looked:
            self._ask_for_reports()
        if self.stock is None:
            hand = self.hands[0]
            if looked and len(self.hands) > 1 and self._is_worth_sharing(hand):
                self._share()
            else:
                end = len(hand.queue)
                if end < len(self.plan) and end - hand.reported < self.parts.size:
                    tasks = range(end, min(end + self.parts.size, len(self.plan)))
                    hand.queue += tasks
                    hand.left += len(tasks)
                    self._send(hand, tasks, {}, [])
                return
        self._share_out()

    def _ask_for_reports(self) -> None:
        """A worker that is inside a long task has told nothing of the short ones before."""
        for hand in self.hands:
            position = hand.running()
            if position > hand.reported and hand.asked != position:
                hand.asked = position
                hand.worker.ask("report", self.number)

    def _is_worth_sharing(self, hand: Hand) -> bool:
        page = hand.worker.page
        if page[RUN] != self.number:
            return False
        now = perf_counter() - page[STARTED]
        return self.left > 1 and (now > FIRST_LOOK / 2 or self.mean > WORTH_SHARING)

    def _share(self) -> None:
        """Take stock."""
        first = self.hands[0]
        place = [NOWHERE] * len(self.plan)
        for task in first.queue:
            place[task] = 0
        self.stock = Stock(self.plan, len(self.hands), self.done, place)

    def _share_out(self) -> None:
        __tracebackhide__ = True
        room = self.held < self.memory_limit
        if not room:
            for hand in self.hands:
                if hand.left > 1:
                    self._take_back(hand, hand.running() + 1)
        self._fill(room)
        hungry = [hand for hand in self.hands if not hand.left]
        if hungry and self._take_from_the_busiest(len(hungry)):
            self._fill(room)
        for hand in self.hands:
            self._send_batch(hand)

    def _fill(self, room: bool) -> None:
        """Give each idle worker a task, and, if there are enough for all, as many as it will do in a while."""
        stock = self.stock
        assert stock is not None
        goal = min(self.parts.size, max(2, ceil(HORIZON / max(self.mean or HORIZON, 1e-6))))
        idle = {hand.index for hand in self.hands if not hand.left}
        for wanted in (1, goal):
            for hand in sorted(self.hands, key=lambda hand: hand.left):
                while hand.left < wanted:
                    alone = all(not other.left for other in self.hands)
                    task = stock.take(hand.index, idle, room or alone)
                    if task == NOWHERE:
                        break
                    idle.discard(hand.index)
                    self._give(hand, task)

    def _give(self, hand: Hand, task: int) -> None:
        """Put a task into a queue, or send for those of its inputs that are elsewhere."""
        stock = self.stock
        assert stock is not None
        missing = [slot for slot in dict.fromkeys(stock.inputs(task)) if not self._is_at_hand(slot, hand)]
        hand.left += 1
        if not missing:
            stock.put(task, hand.index)
            hand.queue.append(task)
            return
        stock.place[task] = IN_TRANSIT
        for slot in missing:
            asked = slot in self.waiting
            self.waiting.setdefault(slot, []).append((task, hand))
            if not asked:
                self.hands[stock.place[slot]].worker.ask("fetch", self.number, slot)

    def _is_at_hand(self, slot: int, hand: Hand) -> bool:
        stock = self.stock
        assert stock is not None
        return stock.place[slot] == hand.index or bool(self.here[slot]) or slot in self.parcels or slot in hand.copies

    def _on_data(self, slot: int, parcel: Parcel) -> None:
        stock = self.stock
        if stock is None or slot in self.parcels:
            parcel.close()
            return
        self.parcels[slot] = parcel
        self.run.transfers.append((perf_counter() - self.run.zero, slot, stock.place[slot], parcel.nbytes))
        for task, hand in self.waiting.pop(slot, []):
            if stock.place[task] == IN_TRANSIT and all(self._is_at_hand(s, hand) for s in stock.inputs(task)):
                stock.put(task, hand.index)
                hand.queue.append(task)

    def _send_batch(self, hand: Hand) -> None:
        tasks = hand.queue[hand.sent :]
        if not tasks:
            return
        stock = self.stock
        assert stock is not None
        remote: dict[int, Any] = {}
        packed: list[int] = []
        own = hand.index
        for task in tasks:
            for slot in stock.inputs(task):
                if stock.place[slot] != own and slot not in hand.copies:
                    hand.copies.add(slot)
                    if self.here[slot]:
                        remote[slot] = self.results[slot]
                    else:
                        packed.append(slot)
        self._send(hand, tasks, remote, packed)

    def _send(self, hand: Hand, tasks: Sequence[int], remote: dict[int, Any], packed: list[int]) -> None:
        """Tell a worker of tasks, of the parts of the plan that it needs for them, and of results."""
        __tracebackhide__ = True
        try:
            chunks, parcels = self.parts.needed(tasks, hand.known, hand.functions)
        except SerializationError as error:
            raise self._fail(self.parts.culprit, error) from error.__cause__
        numbers = {slot: len(parcels) + number for number, slot in enumerate(packed)}
        parcels = [*parcels, *[self.parcels[slot] for slot in packed]]
        plan = self.plan
        hand.worker.send(
            "batch",
            self.number,
            len(plan),
            len(plan.constants),
            chunks,
            hand.seen,
            hand.sent,
            tasks,
            remote,
            numbers,
            hand.dropped,
            parcels=parcels,
        )
        hand.sent = len(hand.queue)
        hand.dropped = []

    def _take_from_the_busiest(self, hungry: int) -> bool:
        """Take back what one worker has not begun and others could run, all but its share."""
        stock = self.stock
        assert stock is not None
        best: list[int] = []
        victim = self.hands[0]
        for hand in self.hands:
            begun = max(hand.running(), hand.reported - 1) + 1
            positions = [p for p in range(begun, hand.sent) if hand.queue[p] >= 0 and not stock.open[hand.queue[p]]]
            if len(positions) > len(best):
                best, victim = positions, hand
        if not best:
            return False
        page = victim.worker.page
        took = perf_counter() - page[STARTED] if page[RUN] == self.number else 0.0
        if not self.mean:
            self.mean = took
        if len(best) * self.mean + took < WORTH_A_STEAL:
            return False
        return self._take_back(victim, best[len(best) // (hungry + 1)])

    def _take_back(self, hand: Hand, position: int) -> bool:
        """Take what stands in a queue from a position on, and has not begun; returns whether there was anything.

        The worker writes what it begins before it looks at the limit, and we write the limit before we look at what it
        has begun: after a moment, either it has seen the limit or we see what it has begun.
        """
        stock = self.stock
        assert stock is not None
        running = hand.running()
        position = max(position, running + 1, hand.reported)
        if position >= hand.sent or running < hand.fresh:  # it must have passed one limit before it gets another
            return False
        hand.worker.page[LIMIT] = position
        sleep(SETTLES)
        first = max(position, hand.running() + 1)
        taken = [task for task in hand.queue[first : hand.sent] if task >= 0]
        hand.queue[first : hand.sent] = [NOWHERE] * (hand.sent - first)
        hand.seen, hand.fresh, hand.begun = position, hand.sent, first
        hand.left -= len(taken)
        stock.take_back(taken)
        return bool(taken)

    def _on_returned(self, hand: Hand, position: int) -> None:
        """The worker has seen a limit: what we took for begun, it has not begun either."""
        stock = self.stock
        if stock is None or position >= hand.begun:
            return
        taken = hand.queue[position : hand.begun]
        hand.queue[position : hand.begun] = [NOWHERE] * len(taken)
        hand.left -= len(taken)
        stock.take_back(taken)

    # -- when a worker dies ---------------------------------------------------------------------------------------

    def _bury(self, hand: Hand) -> None:
        """Replace a worker that has died; what it had in its queue and what only it held is done again."""
        __tracebackhide__ = True
        worker = hand.worker
        fate = worker.fate()
        if fate is None:
            return
        for name in ("stdout", "stderr"):
            self._copy(worker, name)
        if self.stock is None:
            self._share()
        stock = self.stock
        assert stock is not None
        position = hand.running()
        begun = worker.page[RUN] == self.number and hand.reported <= position < len(hand.queue)
        culprit = hand.queue[position] if begun else NOWHERE
        last_lines = list(worker.last_lines)
        self.run.workers[hand.number].left = self.run.duration
        self.pool.remove(worker)
        if culprit >= 0:
            tries = self.attempts[culprit] = self.attempts.get(culprit, 0) + 1
            if tries > self.retries:
                self.run.worker[culprit] = hand.number
                raise self._fail(culprit, _died(self.plan.keys[culprit], fate, tries, last_lines))
        else:
            self.attempts.setdefault(NOWHERE, 0)
            self.attempts[NOWHERE] += 1
            if self.attempts[NOWHERE] > 2 * len(self.hands) + self.retries:
                raise WorkerDied(_no_start(fate, last_lines))
        for other in self.hands:  # what waits for data is planned anew
            other.left = sum([1 for task in other.queue[other.reported :] if task >= 0])
        for waiting in self.waiting.values():
            for task, _ in waiting:
                if stock.place[task] == IN_TRANSIT:
                    stock.place[task] = NOWHERE
        self.waiting.clear()
        kept = {slot for slot in range(len(self.plan)) if self.here[slot] or slot in self.parcels}
        again = stock.lose(hand.index, kept, self.plan.requested)
        self.left += len(again)
        workers = self.pool.ensure(len(self.hands))
        known = {other.worker for other in self.hands}
        fresh = next(worker for worker in workers if worker not in known)
        self.hands[hand.index] = self._hand(fresh, hand.index)

    # -- output ---------------------------------------------------------------------------------------------------

    def _copy(self, worker: WorkerProcess, name: str) -> str:
        """Write what a task has printed to where this thread prints."""
        file = next(file for file, what in worker.output.items() if what == name)
        text = worker.read_output(file)
        stream = sys.stdout if name == "stdout" else sys.stderr
        if text and stream is not None:
            stream.write(text)
        return text

    def _copy_output(self) -> None:
        for hand in self.hands:
            if hand.worker in self.pool.workers:
                for name in ("stdout", "stderr"):
                    with contextlib.suppress(OSError):
                        self._copy(hand.worker, name)


def _urgency(event: tuple[WorkerProcess | None, str]) -> int:
    return ("wake", "stdout", "stderr", "work", "end").index(event[1])


def _unusable(what: str, plan: Plan, task: int, error: BaseException) -> SerializationError:
    return SerializationError(
        f"{what} of task {describe(plan.keys[task])} cannot be pickled, so it cannot leave its worker process: {error}"
    )


def _died(key: object, fate: str, tries: int, last_lines: list[str]) -> WorkerDied:
    times = "once" if tries == 1 else f"{tries} times"
    text = f"Task {describe(key)} was tried {times}, and each time its worker process died; the last one {fate}."
    if last_lines:
        text += "\nIts last lines on stderr:\n" + "\n".join(line[:500] for line in last_lines)
    return WorkerDied(text)


def _no_start(fate: str, last_lines: list[str]) -> str:
    text = f"Worker processes die outside of any task; the last one {fate}."
    return text + ("\nIts last lines on stderr:\n" + "\n".join(last_lines) if last_lines else "")


@cache
def total_memory() -> int:
    """Bytes of memory that this machine, or its container, has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            total = min(total, int(file.read()))
    return total
