"""The queues of a run on worker processes: who gets which tasks, and the results of others that they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from math import ceil
from time import perf_counter, sleep
from typing import Any

from taskloom.bus.run import Run
from taskloom.bus.workers import Transfer
from taskloom.engines.processes_hand import Hand, Running
from taskloom.engines.processes_parts import SIZE, Parts
from taskloom.engines.processes_stock import NOWHERE, Stock
from taskloom.engines.worker.page import LIMIT, NEVER, REPORT, STARTED
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.pool import WorkerPool
from taskloom.engines.worker.process import WorkerProcess
from taskloom.errors import SerializationError, TaskloomError
from taskloom.graph import Plan

FIRST_LOOK = 0.0003  # seconds after which the caller looks whether others should help
WORTH_SHARING = 4e-6  # seconds: shorter tasks are run by one worker, as it takes others longer to be told of them
SURE = 2  # reports: a single one may be slow because the worker was not on a core
WORTH_A_STEAL = 0.0005  # seconds of work in a queue
HORIZON = 0.003  # seconds of work that a worker should have in its queue
SETTLES = 5e-5  # seconds in which what one process writes to a page is seen by the other, and more
REPORT_EVERY = 0.0002  # seconds
LARGE = 65_536  # bytes: of such results the worker is told at once that they are not wanted any more
IN_TRANSIT = -3  # the place of a task whose inputs are on their way


class Queues:
    """The queues of one run.

    At first a single worker has the plan in its order, as on the sync engine; when that takes long enough for others to
    help, stock is taken, and what has not begun is shared out.
    """

    def __init__(
        self,
        plan: Plan,
        run: Run,
        pool: WorkerPool,
        num_workers: int,
        retries: Callable[[int], int],
        memory_limit: float,
    ) -> None:
        self.plan = plan
        self.run = run
        self.pool = pool
        self.size = len(plan)
        self.number = pool.next_run()
        self.retries = retries
        self.memory_limit = memory_limit
        self.parts = Parts(plan)
        self.results = plan.results()
        self.here = bytearray(self.size)  # per task whether its value is in `results`
        self.parcels: dict[int, Parcel] = {}
        self.left = self.size
        self.done = bytearray(self.size)
        self.stock: Stock | None = None
        self.waiting: dict[int, list[tuple[int, Hand]]] = {}  # tasks by a result that has been sent for
        self.transit: dict[int, Hand] = {}  # where the tasks go that wait for one
        self.attempts: dict[int, int] = {}
        self.again: set[int] = set()  # what was done, was lost, and is to be done again
        self.mean = 0.0  # seconds that a task takes
        self.slow = 0  # how many reports in a row told of tasks that are worth sharing
        self.unbooked: dict[int, float] = {}  # sizes of results that were there before stock was taken
        self.look = FIRST_LOOK
        self.num_workers = num_workers
        self.hands = [self._hand(pool.ensure(num_workers)[0], 0)]  # the others join when stock is taken
        self.run.current = Running(self.hands, run)

    def _hand(self, worker: WorkerProcess, index: int) -> Hand:
        worker.page[LIMIT] = NEVER
        worker.page[REPORT] = 0.0 if self.attempts else REPORT_EVERY  # one may die again, with all it has not reported
        return Hand(worker, self.number, self.run.join(worker.name, worker.pid), index)

    def _hold(self, hand: Hand, sizes: dict[int, float]) -> None:
        """Book results that a worker has made."""
        assert self.stock is not None
        for task, size in sizes.items():
            if size:
                self.stock.account.take(task, size, hand.index)

    def _show_account(self) -> None:
        """Let the record tell what each worker holds."""
        assert self.stock is not None
        account = self.stock.account
        for hand in self.hands:
            worker = self.run.workers[hand.number]
            worker.held, worker.peak_held = int(account.held[hand.index]), int(account.peak[hand.index])

    def _release(self, dead: list[int]) -> None:
        """Let go of results that nobody takes any more; a worker that ran all users has done so itself."""
        assert self.stock is not None
        for slot in dead:
            if slot in self.parts.requested:
                continue
            size = self.stock.account.give_up(slot)
            parcel = self.parcels.pop(slot, None)
            if parcel is not None:
                parcel.close()
            if self.here[slot]:
                self.results[slot] = None
                self.here[slot] = 0
            for hand in self.hands:
                if slot in hand.copies or self.stock.place[slot] == hand.index:
                    hand.copies.discard(slot)
                    if size > LARGE:
                        hand.worker.ask("drop", self.number, [slot])
                    else:
                        hand.dropped.append(slot)
            self.stock.place[slot] = NOWHERE

    def _fail(self, task: int, error: TaskloomError) -> TaskloomError:
        self.run.fail(task, self.plan, error, ())
        return error

    def _go_on(self, looked: bool = False) -> None:
        """Give work to those who can take it."""
        __tracebackhide__ = True
        if not self.left:
            return
        if looked:
            self._ask_for_reports()
        if self.stock is None:
            hand = self.hands[0]
            if self.num_workers > 1 and (self.slow >= SURE or (looked and self._is_worth_sharing(hand))):
                self._share()
            else:
                end = len(hand.queue)
                if end < self.size and end - hand.reported < SIZE:
                    tasks = range(end, min(end + SIZE, self.size))
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
        if not hand.worker.is_busy(self.number):
            return False
        now = perf_counter() - page[STARTED]
        return self.left > 1 and (now > FIRST_LOOK / 2 or self.mean > WORTH_SHARING)

    def _share(self) -> None:
        """Take stock, and have the other workers join."""
        first = self.hands[0]
        others = [worker for worker in self.pool.fill(self.num_workers) if worker is not first.worker]
        for worker in others[: self.num_workers - 1]:
            self.hands.append(self._hand(worker, len(self.hands)))
        place = [NOWHERE] * self.size
        for task in first.queue:
            place[task] = 0
        self.stock = Stock(self.plan, self.num_workers, self.done, place)
        uses, requested = self.stock.uses, self.parts.requested
        self._hold(first, {task: size for task, size in self.unbooked.items() if uses[task] or task in requested})
        self.unbooked.clear()

    def _share_out(self) -> None:
        __tracebackhide__ = True
        assert self.stock is not None
        room = self.stock.account.total < self.memory_limit
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
        goal = min(SIZE, max(2, ceil(HORIZON / max(self.mean or HORIZON, 1e-6))))
        idle = {hand.index for hand in self.hands if not hand.left}
        for wanted in (1, goal):
            for hand in sorted(self.hands, key=lambda hand: hand.left):
                while hand.left < wanted and not hand.limited:
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
        self.transit[task] = hand
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
        if stock is None or slot in self.parcels or stock.place[slot] == NOWHERE:
            parcel.close()
            return
        self.parcels[slot] = parcel
        time, source = perf_counter() - self.run.zero, self.hands[stock.place[slot]].number
        targets = dict.fromkeys([hand.number for _, hand in self.waiting.get(slot, ())]) or (None,)
        self.run.transfers += [Transfer(time, slot, source, target, parcel.nbytes) for target in targets]
        self._arrive(slot)

    def _arrive(self, slot: int) -> None:
        """Let the tasks go on that waited for a result; those for which another input has left meanwhile go back."""
        stock = self.stock
        assert stock is not None
        for task, hand in self.waiting.pop(slot, []):
            if self.transit.get(task) is not hand:
                continue
            missing = [s for s in stock.inputs(task) if not self._is_at_hand(s, hand)]
            if not missing:
                del self.transit[task]
                stock.put(task, hand.index)
                hand.queue.append(task)
            elif not all(s in self.waiting for s in missing):
                del self.transit[task]
                hand.left -= 1
                stock.place[task] = NOWHERE
                stock.offer(task)

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
        hand.worker.send(
            "batch",
            self.number,
            self.size,
            len(self.plan.constants),
            chunks,
            hand.returns,
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
            if not hand.worker.is_busy(self.number):
                begun += 1  # it is about to begin that one
            positions = [p for p in range(begun, hand.sent) if hand.queue[p] >= 0 and not stock.open[hand.queue[p]]]
            if len(positions) > len(best):
                best, victim = positions, hand
        if not best:
            return False
        worker = victim.worker
        took = perf_counter() - worker.page[STARTED] if worker.is_busy(self.number) else 0.0
        if not self.mean:
            self.mean = took
        if len(best) * self.mean + took < WORTH_A_STEAL:
            return False
        return self._take_back(victim, best[len(best) // (hungry + 1)])

    def _take_back(self, hand: Hand, position: int) -> bool:
        """Take what stands in a queue from a position on, and has not begun; returns whether there was anything.

        The worker writes what it begins before it looks at the limit, and we write the limit before we look at what it
        has begun: after a moment, either it has seen the limit or we see what it has begun. It may have done both: what
        it saw the limit at, it gives back itself.
        """
        first = max(position, hand.running() + 1, hand.reported)
        if any(task >= 0 for task in hand.queue[first : hand.sent]):
            page = hand.worker.page
            page[LIMIT] = min(page[LIMIT], first)  # an older one may still hold back what others have now
            sleep(SETTLES)
            first = max(first, hand.running() + 1)
            if first < hand.sent:
                hand.limited = True
            elif not hand.limited:
                page[LIMIT] = NEVER
        return self._empty(hand, first)

    def _empty(self, hand: Hand, first: int) -> bool:
        """Put back into the stock what stands in a queue from a position on; returns whether there was anything."""
        stock = self.stock
        assert stock is not None
        taken = [task for task in hand.queue[first:] if task >= 0]
        hand.queue[first:] = [NOWHERE] * max(hand.sent - first, 0)
        hand.left -= len(taken)
        stock.take_back(taken)
        return bool(taken)

    def _on_returned(self, hand: Hand, position: int, missing: Sequence[int]) -> None:
        """The worker gives back all that it has from a position on."""
        if self.stock is None:
            return
        hand.returns += 1
        hand.limited = False
        hand.worker.page[LIMIT] = NEVER
        self._empty(hand, position)
        if missing:
            self._lose(hand, missing)

    def _on_missing(self, hand: Hand, slot: int) -> None:
        """A result that was sent for is not where it should be."""
        self._lose(hand, [slot])
        self._arrive(slot)

    def _lose(self, hand: Hand, slots: Sequence[int]) -> None:
        """Have results made again that a worker was believed to hold.

        It lets go of a result by itself when all tasks that take it have run there, also if one of them will have to
        run again because another worker dies.
        """
        stock = self.stock
        assert stock is not None
        self._empty(hand, hand.sent)
        for slot in slots:
            hand.copies.discard(slot)
            if stock.place[slot] == hand.index and stock.done[slot]:
                stock.place[slot] = NOWHERE
                stock.account.give_up(slot)
        self._make_again(NOWHERE)

    def _make_again(self, lost: int) -> None:
        """Plan anew what is needed and was lost with a worker, or has no place."""
        stock = self.stock
        assert stock is not None
        kept = {*self.parcels, *compress(range(self.size), self.here)}
        again = stock.lose(lost, kept, self.plan.requested)
        self.left += len(again)
        self.again.update(again)
