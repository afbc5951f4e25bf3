"""Topics, under which events are logged, and those who hear of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskloom.engines.cluster.coordination.desk import Asker, Desk, Item

MOST_EVENTS = 1_000  # of a topic: the oldest are forgotten


@dataclass(slots=True)
class _Topic:
    events: deque[tuple[float, Item]] = field(default_factory=deque)
    clients: dict[int, None] = field(default_factory=dict)


class Topics:
    """Topics by name.

    Attributes
    ----------
    news : what is to be told: client, topic, when, and what.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._topics: dict[str, _Topic] = {}
        self.news: list[tuple[int, str, float, Item]] = []

    def log(self, asker: Asker, names: Sequence[str], now: float, items: Sequence[Item]) -> None:
        """Log an event under topics, and tell those who hear of them."""
        (item,) = items
        for name in names:
            topic = self._topics.setdefault(name, _Topic())
            self._desk.keep(item)
            topic.events.append((now, item))
            if len(topic.events) > MOST_EVENTS:
                self._desk.drop(topic.events.popleft()[1])
            self.news += [(client, name, now, item) for client in topic.clients]
        self._desk.answer(asker)

    def events(self, asker: Asker, name: str | None) -> None:
        """What was logged under a topic, or under all: pairs of topic and time, and the items."""
        names = self._topics if name is None else [name] if name in self._topics else []
        found = [(name, now, item) for name in names for now, item in self._topics[name].events]
        self._desk.lend(asker, [item for _, _, item in found], [(name, now) for name, now, _ in found])

    def subscribe(self, asker: Asker, name: str) -> None:
        """A client hears of a topic from now on."""
        self._topics.setdefault(name, _Topic()).clients[asker[0]] = None
        self._desk.answer(asker)

    def unsubscribe(self, asker: Asker, name: str) -> None:
        """A client hears of a topic no more."""
        self._leave(name, asker[0])
        self._desk.answer(asker)

    def client_left(self, client: int) -> None:
        """A client hears of nothing any more."""
        for name in list(self._topics):
            self._leave(name, client)

    def _leave(self, name: str, client: int) -> None:
        topic = self._topics.get(name)
        if topic is not None:
            topic.clients.pop(client, None)
            if not (topic.clients or topic.events):
                del self._topics[name]
