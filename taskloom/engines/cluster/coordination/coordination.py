"""Everything that clients share beside tasks: questions in, answers out. There is no clock or socket in here."""

from __future__ import annotations

from typing import Any, Final

from taskloom.engines.cluster.coordination.desk import Answer, Asker, Desk, Item
from taskloom.engines.cluster.coordination.events import Events
from taskloom.engines.cluster.coordination.leases import Leases
from taskloom.engines.cluster.coordination.queues import Queues
from taskloom.engines.cluster.coordination.topics import Topics
from taskloom.engines.cluster.coordination.variables import Datasets, Variables

#: What there is, and what can be asked of it.
ACTIONS: Final = {
    "datasets": frozenset({"get", "names", "publish", "unpublish"}),
    "events": frozenset({"clear", "is_set", "set", "wait"}),
    "locks": frozenset({"acquire", "value"}),
    "multilocks": frozenset({"acquire", "value"}),
    "queues": frozenset({"close", "get", "get_all", "open", "put", "size"}),
    "semaphores": frozenset({"close", "enter", "register", "value"}),
    "topics": frozenset({"events", "log", "subscribe", "unsubscribe"}),
    "variables": frozenset({"delete", "get", "set"}),
}


class Coordination:
    """Locks, events, queues and so on, of all names.

    Examples
    --------
    >>> coordination = Coordination()
    >>> coordination.ask((1, 7), "locks", "acquire", ["x"], 1)
    >>> coordination.ask((2, 7), "locks", "acquire", ["x"], 1)
    >>> coordination.take_answers()
    [Answer(asker=(1, 7), value=True, items=())]
    >>> coordination.client_left(1)
    ["the lock 'x'"]
    >>> coordination.take_answers()
    [Answer(asker=(2, 7), value=True, items=())]
    """

    def __init__(self) -> None:
        self._desk = desk = Desk()
        self._leases = {"lock": Leases(desk), "multilock": Leases(desk), "semaphore": Leases(desk)}
        self._topics = Topics(desk)
        self._kinds: dict[str, Any] = {
            "datasets": Datasets(desk),
            "events": Events(desk),
            "locks": self._leases["lock"],
            "multilocks": self._leases["multilock"],
            "queues": Queues(desk),
            "semaphores": self._leases["semaphore"],
            "topics": self._topics,
            "variables": Variables(desk),
        }

    def ask(self, asker: Asker, kind: str, action: str, *args: Any) -> None:
        """Somebody asks; the answer may come later.

        Raises
        ------
        Exception
            It cannot be done: nothing has changed, and there will be no answer.
        """
        if action not in ACTIONS.get(kind, ()):
            raise ValueError(f"Nothing like {kind} {action} can be asked.")
        getattr(self._kinds[kind], action)(asker, *args)

    def expire(self, asker: Asker) -> None:
        """Somebody has waited for as long as they would: if they do so still, the answer is `LATE`."""
        self._desk.expire(asker)

    def withdraw(self, asker: Asker) -> None:
        """A question is as if it had not been asked: a lease is given back, an item that was got is the next again."""
        self._desk.withdraw(asker)

    def confirm(self, asker: Asker) -> None:
        """Items that somebody asked for have come."""
        self._desk.confirm(asker)

    def client_left(self, client: int) -> list[str]:
        """A client has gone; what it had leases of."""
        had = [f"the {kind} {name!r:.100}" for kind, leases in self._leases.items() for name in leases.held_by(client)]
        self._desk.client_left(client)
        self._topics.client_left(client)
        return had

    def take_answers(self) -> list[Answer]:
        """What is to be told to those who have asked."""
        answers, self._desk.answers = self._desk.answers, []
        return answers

    def take_news(self) -> list[tuple[int, str, float, Item]]:
        """What is to be told to those who hear of topics: client, topic, when, and what."""
        news, self._topics.news = self._topics.news, []
        return news

    def take_freed(self) -> list[Item]:
        """Items that nobody has any more, after what is to be told is told."""
        freed, self._desk.freed = self._desk.freed, []
        return freed

    @property
    def items(self) -> list[Item]:
        """All that are in use."""
        return list(self._desk.items)
