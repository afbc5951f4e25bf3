"""A client's end of the connection to the coordinator: what it has submitted and asked for, and what it hears."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any
from weakref import ref

from taskloom.bus.event_bus import bus
from taskloom.engines import worker
from taskloom.engines.cluster.client.aside import Callbacks, Hold, Sweeper
from taskloom.engines.cluster.client.asked import Asked
from taskloom.engines.cluster.client.asking import Asking
from taskloom.engines.cluster.client.compile import Draft, PlanDraft
from taskloom.engines.cluster.client.functions import Function, Functions
from taskloom.engines.cluster.client.options import from_here
from taskloom.engines.cluster.client.printing import Printing
from taskloom.engines.cluster.client.recall import Recall
from taskloom.engines.cluster.client.records import Records
from taskloom.engines.cluster.client.state import ELSEWHERE, State
from taskloom.engines.cluster.client.watching import Watching
from taskloom.engines.cluster.forks import WHY, give_up_in_forks
from taskloom.engines.cluster.scheduler.tasks import NOT_A_FUNCTION, SHIFT, Slice
from taskloom.engines.cluster.worker.place import current_task
from taskloom.engines.processes_errors import function_stays
from taskloom.engines.worker.said import manner
from taskloom.graph import Key, function_name

CLOSED = "its client was closed"

Own = Callable[[State], Any]  # makes the future of a state


class Session(Asking):
    """What connects a client with its cluster. Any thread may call its methods.

    Parameters
    ----------
    connect : takes what hears messages, and returns the connection.

    Attributes
    ----------
    states : of all futures, by id.
    names : of those futures whose keys are names, by key.
    workers : those that are there, by number.
    gone : why the cluster is out of reach; empty while it is not.
    """

    def __init__(self, connect: Callable[[Callable[..., None]], Any]) -> None:
        super().__init__()
        self.states = {}
        self.names: dict[Key, State] = {}
        self.workers = {}
        self.runs = ()
        self.gone = ""
        self.printing = Printing()
        self._manner = b""  # how the coordinator has been told that this process wants tasks to warn and log
        self._holds: dict[int, Hold] = {}  # of all futures, by identity
        self._keeps = False  # whether there may be states that are kept
        self._sweeper = Sweeper(self._sweep)
        self._callbacks: Callbacks | None = None
        self.connection = connect(self.hear)
        self._next: int = self.connection.number << SHIFT | 1
        self.functions = Functions(self.pack, self._number, self.connection.threads)
        self.records = self._new_records()
        with self._lock:
            early, self._early = self._early, None
            for message in early or ():
                self._take(*message)
        bus.onlookers.follow(self)
        give_up_in_forks(self)

    def _new_records(self) -> Records:
        return Records("distributed", self.connection, partial(Recall, ref(self)))

    def look_on(self, wanted: bool) -> None:
        """Have it shown what other clients do, or not any more."""
        self.connection.send("watch", wanted)

    def pack(self, value: Any) -> Any:
        return self.connection.pack(value)

    def function(self, key: Key, function: Any) -> Function:
        """The number of a function, for a task of this key.

        Raises
        ------
        SerializationError
            It cannot be pickled.
        """
        try:
            return self.functions.find(function)
        except Exception as error:
            raise function_stays(key, function, error) from error

    # -- submitting -----------------------------------------------------------------------------------------------

    def allocate(self, n: int) -> int:
        """The first of `n` ids that nobody has."""
        with self._lock:
            first = self._next
            self._next += n
            self._begin(first)
            return first

    def _begin(self, first: int) -> None:
        """Note where tasks with ids from this one on are submitted, and say what this process wants to hear of them."""
        self.printing.note(first)
        if (now := manner()) is not self._manner and not worker.inside:
            self._manner = now
            self.connection.send("wants", now)

    def _number(self) -> int:
        return self.allocate(1)

    # Futures are made by `own` before what they stand for is sent. Wherever an interrupt comes in between, they go, and
    # with them what they stand for.

    def submit(self, draft: Draft, asked: Asked, own: Own, named: bool = True) -> list[Any]:
        """Submit what was drafted; futures of its tasks. Names are in the records, too.

        Tasks of which there are futures by now, from another thread, are left out.
        """
        with self._lock:
            self._check()
            if self._keeps and self._sweeper:
                self._flush()  # first, as this may be what failed, once more
            if named:
                draft.drop(self.names)
            n = len(draft.keys)
            if not n:
                return []
            first = self._next
            self._next += n
            self._begin(first)
            slice, parcels = draft.finish(first, asked, named)
            ids = range(first, first + n)
            made = list(map(State, ids, draft.keys, draft.bases))
            futures = list(map(own, made))
            self.states.update(zip(ids, made, strict=True))
            if named:
                self.records.submitted(first, draft.keys, draft.function_names, draft.args)
            self.connection.send("submit", from_here(slice), parcels=parcels)
            draft.is_sent()
            if named:  # last: nobody shares what has not been sent
                self.names.update(zip(draft.keys, made, strict=True))
            if self._sizable and self._sweeper:  # while that is on its way; else the sweeper is early enough
                self._flush()
            return futures

    def submit_call(self, key: Key, function: Function, args: tuple[Any, ...], own: Own) -> Any:
        """Submit a call of a function that was sent before, with arguments that are plain: what `submit` would do, in a
        fraction of the time. Its future, or None where it has to be `submit` after all."""
        with self._lock:
            self._check()
            if key in self.names or (self._keeps and self._sweeper) or current_task() is not None:
                return None
            id = self._next
            self._next += 1
            self._begin(id)
            state = State(id, key, function.code)
            future = own(state)
            self.states[id] = state
            self.records.submitted_call(id, key, function.name)
            self.connection.send("call", id, key, function.code, args)
            self.names[key] = state
            if self._sizable and self._sweeper:
                self._flush()
            return future

    def submit_plan(self, draft: PlanDraft, slice: Slice) -> None:
        """Submit the slice of a plan."""
        with self._lock:
            self._check()
            if self._sweeper:
                self._flush()
            self.connection.send("submit", slice, parcels=draft.parcels(slice))
            draft.is_sent()

    def hold_plan(self, draft: PlanDraft, slice: Slice, own: Own) -> list[Any] | None:
        """Submit the slice of a plan; futures of its wanted tasks.

        None where there are futures of one of them by now, from another thread: then it is to be drafted anew.
        """
        with self._lock:
            self._check()
            if self._sweeper:
                self._flush()
            tasks = [id - slice.first for id in slice.wanted]
            if any((known := self.names.get(slice.keys[task])) and known.is_usable for task in tasks):
                return None
            keys = [slice.keys[task] for task in tasks]
            made = list(map(State, slice.wanted, keys, [slice.codes[task] for task in tasks]))
            names = [function_name(function) for function in draft.plan.functions]
            futures = list(map(own, made))
            self.states.update(zip(slice.wanted, made, strict=True))
            self.records.submitted(slice.first, slice.keys, names, slice.args, slice.wanted)
            self.connection.send("submit", slice, parcels=draft.parcels(slice))
            draft.is_sent()
            self.names.update(zip(keys, made, strict=True))
            return futures

    def add_run(self, run: Any) -> None:
        """Have a run hear of its tasks, until `remove_run`."""
        with self._lock:
            self.runs = (*self.runs, run)

    def remove_run(self, run: Any) -> None:
        with self._lock:
            self.runs = tuple([other for other in self.runs if other is not run])

    def scatter(
        self, items: Sequence[tuple[Key, Any]], workers: list[int] | None, broadcast: bool, own: Own
    ) -> list[Any]:
        """Bring packed data to the workers; futures of them."""
        with self._lock:
            self._check()
            if self._sweeper:
                self._flush()
            first = self._next
            self._next += len(items)
            made = [State(first + number, key) for number, (key, _) in enumerate(items)]
            numbers = {state.id: (state.key, number) for number, state in enumerate(made)}
            futures = list(map(own, made))
            self.states.update([(state.id, state) for state in made])
            self.connection.send("scatter", numbers, workers, broadcast, parcels=[parcel for _, parcel in items])
            self.names.update([(state.key, state) for state in made])
            return futures

    def share(self, key: Key, own: Own) -> Any:
        """One more future of a key, or None where there is no other."""
        with self._lock:
            if self._keeps and self._sweeper:
                self._flush()
            state = self.names.get(key)
            return None if state is None or not state.is_usable else own(state)

    def keep(self, keeper: Any, state: State) -> None:
        """Keep what has failed beyond its last future, if it has one, as long as an object lives; but not under its
        name."""
        with self._lock:
            if state.count and state.keeper is None and not self.gone:
                self._keeps = True
                state.keeper = self.hold(keeper, state)

    def adopt(self, key: Key, own: Own) -> Any:
        """A future of a key that another client has submitted."""
        with self._lock:
            self._check()
            state = State(self._next, key)
            self._next += 1
            slice = Slice(state.id, [key], [NOT_A_FUNCTION], [()], [()], wanted=[state.id], named=True)
            future = own(state)
            self.states[state.id] = state
            self.connection.send("submit", slice)
            self.names[key] = state
            return future

    # -- giving up ------------------------------------------------------------------------------------------------

    def hold(self, future: Any, state: State) -> Hold:
        """Count a future of a state, until it goes or is given up. Called under the lock of this session."""
        hold = Hold(future, self._sweeper.left.put)
        hold.state = state
        number = id(hold)
        self._holds[number] = hold  # no interrupt comes between this and the next line
        state.count += 1
        return hold

    def give_up(self, hold: Hold) -> None:
        """A future is not to count any more. Takes no lock."""
        self._sweeper.left.put(hold)

    def _sweep(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        """Release what nobody has a future of any more."""
        try:
            self._give_up_all(self._sweeper.take())
        except KeyboardInterrupt:  # what is broken off here is done by the sweeper
            self._sweeper.go_on()
            raise

    def _give_up_all(self, given_up: deque[Hold]) -> None:
        """The same, of those that are in this queue. They stay there to the end: it can all be done once more."""
        holds = self._holds
        released, hidden = [], []
        gone = list(given_up)
        for hold in gone:
            number, state = id(hold), hold.state
            if number in holds:
                del holds[number]  # no interrupt comes between this and the next lines
                state.count -= 1
                if state.keeper is hold:
                    state.keeper = None
            if not state.has_futures:
                if self.names.get(state.key) is state:
                    del self.names[state.key]
                if state.count:
                    hidden.append(state.id)
                else:
                    self.states.pop(state.id, None)
                    if state.status not in ("cancelled", "lost"):
                        released.append(state.id)
        self.records.released(released)
        self._sizable = False
        codes = self.functions.forgotten()
        if (released or codes) and not self.gone:
            self.connection.send("release", [*released, *codes])
        self.functions.told(len(codes))
        if hidden and not self.gone:  # last: what it needs has no futures any more by now
            self.connection.send("hide", hidden)
        for _ in gone:
            given_up.popleft()

    # -- other messages ----------------------------------------------------------------------------------------------

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        with self._lock:
            self._check()
            if self._sweeper:
                self._flush()
            self.connection.send(kind, *fields, parcels=parcels)

    def call_back(self, action: Callable[..., Any], *args: Any) -> None:
        """Call a user's function, in a thread of its own, in turn."""
        with self._lock:
            if self._callbacks is None:
                self._callbacks = Callbacks()
        self._callbacks.put(action, args)

    def watch(self, name: str, watching: Watching | None) -> None:
        """Have a plugin hear of what is heard, in the place of the one of the same name; None: none."""
        others = dict(self.watchings)
        former = others.pop(name, None)
        self.watchings = others if watching is None else {**others, name: watching}
        if former is not None:
            former.close()

    def check(self) -> None:
        """Raise if the cluster is out of reach."""
        with self._lock:
            self._check()

    def _check(self) -> None:
        if self.gone:
            raise _out_of_reach(self.gone)

    def close(self, why: str = CLOSED) -> None:
        """Leave the cluster. Futures that are not done are cancelled."""
        with self._lock:
            if self.gone:
                return
            self._flush()
            self.gone = why
            self.connection.send("close")
        self._end("cancelled", why)
        self.connection.close()

    def let_go(self) -> None:
        """Have nothing to do with the cluster any more: it is reached from another process."""
        self._lock, self._fetching = Lock(), Lock()
        self.records = self._new_records()
        if not self.gone:
            self.gone = WHY
            self._end("lost", WHY)

    def _end(self, status: Any, why: str) -> None:
        for state in list(self.states.values()):
            if state.status != "finished" or state.value is ELSEWHERE:
                state.note = why
                state.settle(status)
        error = _out_of_reach(why)
        packed = self.connection.pack_error(error)
        for reply in list(self._questions.values()):
            reply.resolve((False, packed, ()))
        self._questions.clear()
        for id in list(self._fetches):
            self._on_no_data((), id, packed)
        for run in self.runs:
            run.fail(error)
        self._tell_of_workers()
        bus.onlookers.leave(self)
        self.records.gone(why)
        self._sweeper.close()
        for name in self.watchings:
            self.watch(name, None)
        if self._callbacks is not None:
            self._callbacks.close()


def _out_of_reach(why: str) -> RuntimeError:
    if why == CLOSED:
        return RuntimeError("This client is closed. Open another one: client = Client().")
    return RuntimeError(f"The client cannot reach its cluster: {why}.")
