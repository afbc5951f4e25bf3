"""One run on worker processes, seen from the thread that called."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from math import nan
from time import perf_counter
from typing import Any

from taskloom.engines.measure import LONG
from taskloom.engines.processes_errors import describe, died, died_idle, result_stays
from taskloom.engines.processes_hand import Hand
from taskloom.engines.processes_queues import FIRST_LOOK, LARGE, WORTH_SHARING, Queues
from taskloom.engines.processes_stock import NOWHERE
from taskloom.engines.worker.failure import unpack_error
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.process import WorkerProcess

LAST_LOOK = 0.02


class ProcessesRun(Queues):
    """One run: its queues, and the loop in which the calling thread hears of what becomes of them."""

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
            pool.idle = True
            return self._answer()
        finally:
            for member in run.workers:
                member.held = 0
            try:
                if patience or self.stock is not None or self.parcels or self.parts.nbytes > LARGE:
                    pool.settle(self.number, patience)
                if patience:
                    for worker in pool.workers:
                        with contextlib.suppress(OSError):
                            worker.copy_output()
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
                    raise self._fail(slot, result_stays(self.plan.keys[slot], error)) from error
        return self.results

    def _take_in(self, events: Sequence[tuple[WorkerProcess | None, str]]) -> None:
        __tracebackhide__ = True
        for worker, what in events:
            if worker is None or worker not in self.pool.workers:  # just buried
                continue
            hand = next((hand for hand in self.hands if hand.worker is worker), None)
            if hand is None:
                self._on_idle(worker, what)
            elif what == "work":
                self._hear(hand, worker.receive())
            elif what == "end":
                while (message := worker.receive()) is not None:
                    self._hear(hand, message)
                self._bury(hand)
            else:
                worker.copy_output()

    def _on_idle(self, worker: WorkerProcess, what: str) -> None:
        """Something has come from a worker that has no part in the run yet."""
        __tracebackhide__ = True
        if what == "end":
            self.pool.remove(worker)
        elif what != "work":
            worker.copy_output()
        elif (message := worker.receive()) is not None:
            kind, fields, parcels = message
            for parcel in parcels:
                parcel.close()
            if kind == "failed" and fields[0] < 0:  # the initializer
                raise unpack_error(fields[4])

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
            self._on_report(hand, parcels, *fields)
        elif kind == "failed":
            self._on_failed(hand, *fields)
        elif kind == "returned":
            self._on_returned(hand, *fields)
        elif kind == "data":
            self._on_data(fields[0], parcels[0])
        elif kind == "missing":
            self._on_missing(hand, *fields)
        elif kind == "no_data":
            slot = fields[0]
            if slot in self.waiting:
                error = unpack_error(fields[1])
                raise self._fail(slot, result_stays(self.plan.keys[slot], error)) from error

    def _on_report(
        self,
        hand: Hand,
        parcels: list[Parcel],
        first: int,
        times: list[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        numbers: dict[int, int],
        errors: dict[int, bytes],
        cpu: float,
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
        if tasks[-1] - tasks[0] == n - 1 and self.stock is None:
            run.start[tasks[0] : tasks[0] + n], run.stop[tasks[0] : tasks[0] + n] = starts, stops
        else:
            for task, start, stop in zip(tasks, starts, stops, strict=True):
                run.start[task], run.stop[task] = start, stop
        if hand.number:
            for task in tasks:
                run.worker[task] = hand.number
        self.slow = self.slow + 1 if spent > n * WORTH_SHARING else 0
        again = self.again
        if again:
            run.done.extend([task for task in tasks if task not in again])
            again.difference_update(tasks)
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
            raise self._fail(task, result_stays(self.plan.keys[task], error)) from error
        self.left -= n
        if self.stock is None:
            for task in tasks:
                self.done[task] = 1
            if sizes:
                self.unbooked.update(sizes)
                if sum(self.unbooked.values()) > LARGE:
                    self._share()
        else:
            self._hold(hand, sizes)
            for task in tasks:
                self._release(self.stock.finish(task))
            if any(self.stock.account.peak):
                self._show_account()

    def _on_failed(self, hand: Hand, task: int, start: float, stop: float, packed: bytes) -> None:
        __tracebackhide__ = True
        error = unpack_error(packed, f"task {describe(self.plan.keys[task])}" if task >= 0 else "the initializer")
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
                    elif message is not None and message[0] in ("no_data", "missing"):
                        return []
            values = {s: self.parcels[s].value() for s in slots if s >= 0 and not self.here[s]}
            return [values[s] if s in values else self.results[s] for s in slots]
        return []

    # -- when a worker dies ---------------------------------------------------------------------------------------

    def _bury(self, hand: Hand) -> None:
        """Replace a worker that has died; what it had in its queue and what only it held is done again."""
        __tracebackhide__ = True
        worker = hand.worker
        fate = worker.fate()
        if fate is None:
            return
        worker.copy_output()
        position = hand.running()
        begun = worker.is_busy(self.number) and hand.reported <= position < len(hand.queue)
        culprit = hand.queue[position] if begun else NOWHERE
        if (packing := worker.packing()) >= 0:
            culprit = packing
        last_lines = list(worker.last_lines)
        out_of_memory = self.pool.ran_out_of_memory(worker)
        self.run.workers[hand.number].left = self.run.duration
        self.pool.remove(worker)
        if culprit >= 0:
            tries = self.attempts[culprit] = self.attempts.get(culprit, 0) + 1
            if tries > self.retries(culprit) or out_of_memory:
                self.run.worker[culprit] = hand.number
                raise self._fail(culprit, died(self.plan.keys[culprit], fate, tries, last_lines, out_of_memory))
        else:
            self.attempts.setdefault(NOWHERE, 0)
            self.attempts[NOWHERE] += 1
            if self.attempts[NOWHERE] > 2 * len(self.hands) + self.retries(NOWHERE):
                raise died_idle(fate, last_lines)
        if self.stock is None:
            self._share()
        stock = self.stock
        assert stock is not None
        for other in self.hands:  # what waits for data is planned anew
            other.left = sum([1 for task in other.queue[other.reported :] if task >= 0])
        for task in self.transit:
            stock.place[task] = NOWHERE
        self.transit.clear()
        self.waiting.clear()
        stock.account.lose(hand.index)
        self._make_again(hand.index)
        workers = self.pool.fill(self.num_workers)
        known = {other.worker for other in self.hands}
        fresh = next(worker for worker in workers if worker not in known)
        self.hands[hand.index] = self._hand(fresh, hand.index)
