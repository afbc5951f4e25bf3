"""The plugins of workers, as the coordinator keeps them: packed, and never unpacked here."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Container
from time import monotonic
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.coordinator.questions import Round
from taskloom.engines.processes_errors import describe

if TYPE_CHECKING:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator
    from taskloom.engines.cluster.coordinator.questions import Questions

MOST_SAID = 500  # characters of an error
LAST_WORDS = 2.0  # seconds that plugins get when all workers are to end

_log = logging.getLogger("taskloom")


class Plugins:
    """Has workers set up plugins: those that are there when one is registered, and each new one before it gets tasks.

    A new worker that cannot is not used, and no other is started in its place before something is changed: it would
    fail in the same way. On the coordinator's thread.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._there: dict[str, tuple[bytes, bool]] = {}  # by name: packed, and whether it wants to hear of tasks
        self._greeted: set[int] = set()  # workers that are setting plugins up
        self.parting: dict[int, float] = {}  # workers that are taking them down, and how long they may
        self.failure = ""  # why the last worker was not used
        self.settled = threading.Event()  # once the first workers have set them up, or have failed to

    # -- registering ----------------------------------------------------------------------------------------------

    def preload(self, name: str, packed: bytes) -> None:
        """Have a plugin before there are workers."""
        self._there[name] = packed, False

    def register(self, client: int, number: int, name: str, packed: bytes, watches: bool, idempotent: bool) -> None:
        """Have a plugin set up by all workers, and tell the client how it went. If one fails, it is taken back."""
        if idempotent and name in self._there:
            self._coordinator.scheduler.tell(client, "answer", number, True, {})
            return
        self._keep(name, (packed, watches))

        used = {worker for worker, state in self._coordinator.scheduler.workers.items() if not state.leaving}

        def over(round: Round) -> None:
            answer = _outcomes(round, used)
            if not all(ok for ok, _ in answer.values()) and self._there.get(name) == (packed, watches):
                self._keep(name, None)
                self._ask(Round(0, 0, _ignore), None, "unplug", [name])
            self._coordinator.scheduler.tell(client, "answer", number, True, answer)

        self._ask(Round(client, number, over), None, "plug_in", [(name, packed)])

    def unregister(self, client: int, number: int, name: str) -> None:
        """Have all workers take a plugin away."""
        if name not in self._there:
            known = ", ".join(map(repr, self._there)) or "none"
            raise ValueError(f"There is no plugin {describe(name)}. There are: {known}.")
        self._keep(name, None)

        def over(round: Round) -> None:
            self._coordinator.scheduler.tell(client, "answer", number, True, _outcomes(round, ()))

        self._ask(Round(client, number, over), None, "unplug", [name])

    def _keep(self, name: str, plugin: tuple[bytes, bool] | None) -> None:
        self._there.pop(name, None)
        if plugin is not None:
            self._there[name] = plugin
        self._coordinator.post.names_tasks = any(watches for _, watches in self._there.values())
        self._coordinator.crew.held = False

    def _ask(self, round: Round, workers: list[int] | None, kind: str, *fields: Any) -> None:
        self._questions.ask_workers(round, workers, kind, fields)

    @property
    def _questions(self) -> Questions:
        return self._coordinator.questions

    # -- workers that come and go ---------------------------------------------------------------------------------

    def greet(self, number: int) -> None:
        """A worker has been started: let it take part, once its plugins are set up."""
        if not self._there:
            self._coordinator.welcome(number)
            return
        self._greeted.add(number)
        given = [(name, packed) for name, (packed, _) in self._there.items()]
        self._ask(Round(0, 0, lambda round: self._has_set_up(number, given, round)), [number], "plug_in", given)

    def _has_set_up(self, number: int, given: list[tuple[str, bytes]], round: Round) -> None:
        self._greeted.discard(number)
        ((ok, value, _),) = round.answers.values()
        if ok:
            self._coordinator.welcome(number)
        elif not {name: packed for name, (packed, _) in self._there.items()}.items() >= dict(given).items():
            self._coordinator.dismiss(number)  # one of them was taken back meanwhile: the next one may do better
        else:
            self._refuse(number, value)
        if not self._greeted:
            self.settled.set()

    def _refuse(self, number: int, value: Any) -> None:
        """A worker could not set up a plugin, or has ended meanwhile."""
        coordinator = self._coordinator
        worker = coordinator.crew.workers.get(number)
        if isinstance(value, tuple):
            self.failure = f"could not set up the plugin {describe(value[0])} ({_said(value[1])})"
        elif coordinator.crew.has_died_idle():  # again and again: it is no accident
            self.failure = "ended while it set up its plugins"
        else:
            return
        coordinator.crew.held = True
        text = (
            f"{worker.name if worker else 'A worker'} {self.failure}. It is not used, and no other is started in its "
            "place before plugins are registered or unregistered, or the cluster is scaled or restarted."
        )
        if not coordinator.scheduler.clients and self.settled.is_set():  # else whoever makes the cluster says so
            _log.error("taskloom: %s", text)
        for client in coordinator.scheduler.clients:
            coordinator.scheduler.tell(client, "said", text, None)
        coordinator.dismiss(number)
        if not coordinator.scheduler.workers and not self._greeted:
            coordinator.scheduler.no_worker_lives(self.failure, ())

    def part(self, number: int) -> None:
        """Have a worker that gets nothing more take its plugins down, and then end."""
        if not self._there:
            self._coordinator.dismiss(number)
            return
        self.parting[number] = monotonic() + LAST_WORDS
        self._ask(Round(0, 0, lambda round: self._has_parted(number)), [number], "unplug", None)

    def _has_parted(self, number: int) -> None:
        if self.parting.pop(number, None) is not None:
            self._coordinator.dismiss(number)

    def look(self, now: float) -> None:
        """End those that take too long for it."""
        for number, deadline in [*self.parting.items()]:
            if now > deadline:
                self._has_parted(number)

    def close(self, wait: Callable[[], None]) -> None:
        """Have all workers take their plugins down, for a while; `wait` waits for what they say."""
        if self._there:
            over: list[Round] = []
            self._ask(Round(0, 0, over.append), None, "unplug", None)
            deadline = monotonic() + LAST_WORDS
            while not over and monotonic() < deadline:
                wait()


def _outcomes(round: Round, used: Container[int]) -> dict[int, tuple[bool, Any]]:
    """Whether it went well, and the packed error, by worker. In an answer the error comes with the name of the plugin,
    unless the worker has ended: that counts for those that were in use, and were not about to end anyway."""
    outcomes: dict[int, tuple[bool, Any]] = {}
    for worker, (ok, value, _) in round.answers.items():
        if isinstance(value, tuple):
            outcomes[worker] = ok, value[1]
        elif worker in used:
            outcomes[worker] = ok, value
    return outcomes


def _said(packed: Any) -> str:
    """What a packed error says, without unpacking it: that may run code of its class."""
    name, text = pickle.loads(packed)[2][:2] if isinstance(packed, bytes) else (type(packed).__name__, str(packed))
    return f"{name}: {text}"[:MOST_SAID]


def _ignore(round: Round) -> None:
    pass
