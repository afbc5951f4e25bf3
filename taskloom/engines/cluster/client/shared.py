"""Things that clients share by their names, also inside of tasks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from taskloom.engines.cluster.client.current import get_client
from taskloom.engines.cluster.client.elsewhere import MaybeTheirs
from taskloom.engines.cluster.client.question import Outcome, Question

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

MOST_SHOWN = 100  # characters of a name


class Shared(MaybeTheirs):
    """Something that all who know its name share.

    It can be pickled: as an argument of a task it is the same thing there.

    Parameters
    ----------
    name : by which others find it; by default one that nobody has had.
    client : by default the current one when it is first used.
    """

    _kind: ClassVar[str]  # as the cluster calls it

    def __init__(self, name: Any = None, client: Client | None = None) -> None:
        self.name = name or f"{type(self).__name__.lower()}-{uuid4().hex}"
        self._client = client

    @property
    def client(self) -> Client:
        """Who speaks for it with the cluster."""
        if self._client is None:
            self._client = get_client()
        return self._client

    def _ask(self, action: str, *args: Any, finish: Callable[[Outcome, int], Any] | None = None, **how: Any) -> Any:
        """The result of a question; in an asynchronous client, something to await that gives it."""
        return self._question(action, *args, finish=finish, **how).ask()

    def _question(
        self, action: str, *args: Any, finish: Callable[[Outcome, int], Any] | None = None, **how: Any
    ) -> Question:
        return Question(self.client, self._kind, action, *args, finish=finish or _value, **how)

    def _shown(self) -> str:
        text = repr(self.name)
        return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."

    async def _itself(self) -> Any:
        return self

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._itself().__await__()

    def __reduce__(self) -> Any:
        return type(self), (self.name,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._shown()}>"


def _value(outcome: Outcome, number: int) -> Any:
    return outcome.value


def in_time(outcome: Outcome, number: int) -> bool:
    """Whether it has come in time."""
    return not outcome.late
