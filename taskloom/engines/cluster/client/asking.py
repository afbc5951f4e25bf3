"""What a client asks of the coordinator."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from taskloom.engines.cluster.client.hearing import Fetch, Hearing
from taskloom.engines.cluster.client.reply import Reply


class Asking(Hearing):
    """The part of a `Session` that sends questions; `Hearing` takes in their answers."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        raise NotImplementedError

    def fetch(self, ids: Sequence[int]) -> Fetch:
        """Have results brought here."""
        fetch = Fetch(ids)
        with self._fetching:
            for id in ids:
                self._fetches.setdefault(id, []).append(fetch)
        self.send("gather", list(ids))
        return fetch

    def ask(self, what: str, *args: Any, parcels: Sequence[Any] = ()) -> Reply:
        """Ask the coordinator; its answer is a tuple (ok, value or packed error, parcels)."""
        return self.ask_as(self.new_question(), what, *args, parcels=parcels)

    def new_question(self) -> int:
        """A number for a question."""
        return next(self._numbers)

    def ask_as(self, number: int, what: str, *args: Any, parcels: Sequence[Any] = ()) -> Reply:
        """Ask under a number by which the question can be undone."""
        reply = self._questions[number] = Reply()
        try:
            self.send("ask", number, what, args, parcels=parcels)
        except BaseException:
            self._questions.pop(number, None)
            raise
        return reply

    def undo(self, number: int) -> None:
        """A question is as if it had not been asked. Takes no lock, so that the garbage collector may call it."""
        if not self.gone:
            self.connection.send("withdraw", number)

    async def answer(self, what: str, *args: Any, parcels: Sequence[Any] = ()) -> tuple[Any, Sequence[Any]]:
        """The answer to a question, and its parcels; raises what went wrong."""
        ok, value, parcels = await self.ask(what, *args, parcels=parcels)
        if not ok:
            raise self.connection.unpack_error(value)
        return value, parcels
