"""Events that are logged under topics, and functions that are called for them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.question import Outcome, Question, unpack

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.session import Session

Event = tuple[float, Any]  # when, and the message

_log = logging.getLogger("taskloom")


class _Handler:
    """Calls a function for events.

    Parameters
    ----------
    function : a function, or a coroutine function.
    loop : of an asynchronous client, in which it is called.
    """

    def __init__(self, function: Callable[[Event], Any], loop: asyncio.AbstractEventLoop | None) -> None:
        self._function = function
        self._loop = loop
        self._running: set[asyncio.Future[None]] = set()

    def __call__(self, when: float, content: Any, parcels: Sequence[Any]) -> None:
        """Take in an event, in the thread for users' functions."""
        try:
            event = when, unpack(content, parcels)
        finally:
            for parcel in parcels:
                parcel.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._call_in_loop, event)
            return
        result = self._function(event)
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))

    def _call_in_loop(self, event: Event) -> None:
        result = self._function(event)
        if inspect.isawaitable(result):
            running = asyncio.ensure_future(_awaited(result))
            self._running.add(running)  # or nobody has it
            running.add_done_callback(self._running.discard)


async def _awaited(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        _log.exception("taskloom: what was to be called for an event raised")


class Topics:
    """Events by topic. The cluster keeps the last 1,000 of each."""

    _session: Session
    asynchronous: bool

    def log_event(self, topic: str | Iterable[str], msg: Any) -> Any:
        """Log an event, in this client or from inside of a task.

        Parameters
        ----------
        topic : one, or several.
        msg : anything that can be pickled.

        Examples
        --------
        >>> from taskloom.distributed import Client
        >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        ...     client.log_event("progress", {"done": 3})
        ...     [message for _, message in client.get_events("progress")]
        [{'done': 3}]
        """
        topics = (topic,) if isinstance(topic, str) else tuple(topic)
        return self._of_topics("log", topics, values=(msg,), finish=_nothing)

    def get_events(self, topic: str | None = None) -> Any:
        """The events of a topic, oldest first: pairs of time and message. Without a topic, those of all, by topic."""

        def finish(outcome: Outcome, number: int) -> Any:
            found: dict[str, list[Event]] = {}
            for (name, when), message in zip(outcome.value, outcome.items, strict=True):
                found.setdefault(name, []).append((when, message))
            if topic is None:
                return {name: tuple(events) for name, events in found.items()}
            return tuple(found.get(topic, ()))

        return self._of_topics("events", topic, finish=finish)

    def subscribe_topic(self, topic: str, handler: Callable[[Event], Any]) -> None:
        """Have `handler((time, message))` called for each event of a topic from now on, one after the other.

        Parameters
        ----------
        handler : a function, called in a thread of its own; or a coroutine function, run in the event loop of an
            asynchronous client.
        """
        loop = asyncio.get_running_loop() if self.asynchronous else None
        self._session.handlers[topic] = _Handler(handler, loop)
        self._session.ask("coordinate", "topics", "subscribe", (topic,), ())

    def unsubscribe_topic(self, topic: str) -> None:
        """Have nothing called any more for the events of a topic.

        Raises
        ------
        ValueError
            Nothing is.
        """
        if self._session.handlers.pop(topic, None) is None:
            raise ValueError(f"No event handler known for topic {topic!r:.100}.")
        self._session.ask("coordinate", "topics", "unsubscribe", (topic,), ())

    def _of_topics(self, action: str, *args: Any, values: Sequence[Any] = (), finish: Any) -> Any:
        client: Any = self
        return Question(client, "topics", action, *args, values=values, finish=finish).ask()


def _nothing(outcome: Outcome, number: int) -> None:
    return None
