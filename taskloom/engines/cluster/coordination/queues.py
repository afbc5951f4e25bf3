"""Queues. An item that was got by somebody who has gone before having it is the next one again."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from taskloom.engines.cluster.coordination.desk import Asker, Desk, Item

Name = Any


class _Getter:
    """Somebody who waits for so many items, and those that are there already."""

    __slots__ = ("count", "taken")

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken: list[Item] = []


class _Queue:
    __slots__ = ("closed", "getters", "items", "limit", "putters")

    def __init__(self, limit: int) -> None:
        self.limit = limit  # 0 for none
        self.items: deque[Item] = deque()
        self.getters: OrderedDict[Asker, _Getter] = OrderedDict()
        self.putters: OrderedDict[Asker, Item] = OrderedDict()
        self.closed = False

    @property
    def is_idle(self) -> bool:
        """Whether it is as if it had never been."""
        return not (self.limit or self.items or self.getters or self.putters)


class Queues:
    """Queues by name. Who opens one first says how many items it may have."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._queues: dict[Name, _Queue] = {}

    def open(self, asker: Asker, name: Name, limit: int) -> None:
        """There is such a queue."""
        if limit:
            self._queues.setdefault(name, _Queue(limit))
        self._desk.answer(asker)

    def _queue(self, name: Name) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(0)
        return queue

    def put(self, asker: Asker, name: Name, items: Sequence[Item]) -> None:
        """Put an item to the end, as soon as there is room."""
        queue = self._queue(name)
        (item,) = items
        self._desk.keep(item)
        queue.putters[asker] = item
        self._desk.wait(asker, partial(self._put_no_more, name, queue))
        self._serve(name, queue)

    def _put_no_more(self, name: Name, queue: _Queue, asker: Asker) -> None:
        self._desk.drop(queue.putters.pop(asker))
        self._serve(name, queue)

    def get(self, asker: Asker, name: Name, count: int) -> None:
        """Take so many items from the front, as soon as they are there."""
        queue = self._queue(name)
        queue.getters[asker] = _Getter(count)
        self._desk.wait(asker, partial(self._get_no_more, name, queue))
        self._serve(name, queue)

    def _get_no_more(self, name: Name, queue: _Queue, asker: Asker) -> None:
        queue.items.extendleft(reversed(queue.getters.pop(asker).taken))
        self._serve(name, queue)

    def get_all(self, asker: Asker, name: Name) -> None:
        """Take the items that are there."""
        queue = self._queue(name)
        items = list(queue.items)
        queue.items.clear()
        self._lend(asker, name, queue, items)
        self._serve(name, queue)

    def _lend(self, asker: Asker, name: Name, queue: _Queue, items: Sequence[Item]) -> None:
        self._desk.lend(asker, items, give_back=partial(self._give_back, name, queue))
        for item in items:
            self._desk.drop(item)  # the queue has it no more

    def _give_back(self, name: Name, queue: _Queue, items: Sequence[Item]) -> None:
        if queue.closed:
            for item in items:
                self._desk.drop(item)
            return
        queue = self._queues.setdefault(name, queue)
        queue.items.extendleft(reversed(items))
        self._serve(name, queue)

    def _serve(self, name: Name, queue: _Queue) -> None:
        """Move items on, from those who put to those who get."""
        items = queue.items
        while True:
            while queue.putters and (not queue.limit or len(items) < queue.limit):
                putter, item = queue.putters.popitem(last=False)
                items.append(item)
                self._desk.answer(putter)
            if not queue.getters or not items:
                break
            asker, getter = next(iter(queue.getters.items()))
            getter.taken.append(items.popleft())
            if len(getter.taken) == getter.count:
                del queue.getters[asker]
                self._lend(asker, name, queue, getter.taken)
        if queue.is_idle:
            self._queues.pop(name, None)

    def size(self, asker: Asker, name: Name) -> None:
        """How many items there are."""
        queue = self._queues.get(name)
        self._desk.answer(asker, 0 if queue is None else len(queue.items))

    def close(self, asker: Asker, name: Name) -> None:
        """Forget a queue and what is in it. Those who wait get an error."""
        queue = self._queues.pop(name, None)
        if queue is not None:
            queue.closed = True
            taken = [item for getter in queue.getters.values() for item in getter.taken]
            for item in (*queue.items, *queue.putters.values(), *taken):
                self._desk.drop(item)
            for other in (*queue.getters, *queue.putters):
                self._desk.answer(other, RuntimeError(f"The queue {name!r:.100} was closed."))
        self._desk.answer(asker)
