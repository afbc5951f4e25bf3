"""Where questions wait for their answers, and what is kept for those who were answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

Asker = tuple[int, int]  # the number of a client, and that of its question

LATE: Final = object()  # the answer to a question that has waited for as long as it may


@dataclass(slots=True, eq=False)
class Item:
    """A value that clients share.

    Attributes
    ----------
    value : the value itself where it is plain, else what it is packed into.
    futures : the numbers under which the results are wanted of which it holds futures.
    uses : how many places and readers have it.
    """

    value: Any
    futures: Sequence[int] = ()
    uses: int = 0


class Answer(NamedTuple):
    """What somebody is told who has asked: `LATE`, an exception, or what the answer is, and items that belong to it."""

    asker: Asker
    value: Any
    items: Sequence[Item] = ()


class Desk:
    """Takes note of who waits, and of what was given to whom.

    Attributes
    ----------
    answers : to be told; whoever does that empties it.
    items : those in use.
    freed : items that nobody has any more.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.items: dict[Item, None] = {}
        self.freed: list[Item] = []
        self._waiting: dict[Asker, Callable[[Asker], None]] = {}
        self._given: dict[Asker, Callable[[Asker], None]] = {}
        self._lent: dict[Asker, Sequence[Item]] = {}

    def answer(self, asker: Asker, value: Any = None) -> None:
        """Tell something that leaves nothing to be seen to."""
        self._waiting.pop(asker, None)
        self.answers.append(Answer(asker, value))

    def wait(self, asker: Asker, leave: Callable[[Asker], None]) -> None:
        """There is no answer yet. `leave(asker)` is called if none is awaited any more."""
        self._waiting[asker] = leave

    def give(self, asker: Asker, take_back: Callable[[Asker], None]) -> None:
        """Tell somebody that they have it, until `take_back(asker)` is called or they have `returned` it."""
        self.answer(asker, True)
        self._given[asker] = take_back

    def returned(self, asker: Asker) -> None:
        """What somebody was given is seen to."""
        self._given.pop(asker, None)

    def lend(
        self,
        asker: Asker,
        items: Sequence[Item],
        value: Any = None,
        give_back: Callable[[Sequence[Item]], None] | None = None,
    ) -> None:
        """Tell somebody items. They are kept until it is confirmed that they have come.

        `give_back(items)` is called if that is not to be expected any more, and has a use of each to see to.
        """
        self._waiting.pop(asker, None)
        self.answers.append(Answer(asker, value, items))
        if not items:
            return
        for item in items:
            self.keep(item)
        self._lent[asker] = items
        self._given[asker] = partial(self._bring_back, give_back)

    def _bring_back(self, give_back: Callable[[Sequence[Item]], None] | None, asker: Asker) -> None:
        items = self._lent.pop(asker)
        if give_back is not None:
            give_back(items)
            return
        for item in items:
            self.drop(item)

    def confirm(self, asker: Asker) -> None:
        """Somebody has what they were lent."""
        self._given.pop(asker, None)
        for item in self._lent.pop(asker, ()):
            self.drop(item)

    def expire(self, asker: Asker) -> None:
        """Somebody has waited for as long as they would, if they do so still."""
        leave = self._waiting.get(asker)
        if leave is not None:
            self.answer(asker, LATE)
            leave(asker)

    def withdraw(self, asker: Asker) -> None:
        """Somebody does not wait any more, and does not want what they were given."""
        leave = self._waiting.pop(asker, None) or self._given.pop(asker, None)
        if leave is not None:
            leave(asker)

    def client_left(self, client: int) -> None:
        """A client waits for nothing, and has nothing any more. What it was given last goes back first."""
        for asker in [asker for asker in self._waiting if asker[0] == client]:
            self.withdraw(asker)
        for asker in reversed([asker for asker in self._given if asker[0] == client]):
            self.withdraw(asker)
        self.answers = [answer for answer in self.answers if answer.asker[0] != client]

    def keep(self, item: Item) -> None:
        """An item is in one place more."""
        item.uses += 1
        self.items[item] = None

    def drop(self, item: Item) -> None:
        """An item is in one place less."""
        item.uses -= 1
        if not item.uses:
            del self.items[item]
            self.freed.append(item)
