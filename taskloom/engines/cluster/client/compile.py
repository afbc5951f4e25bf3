"""Slices of calls and of plans: what a client submits, with futures as ids and constants packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from taskloom.containers import extract
from taskloom.engines.cluster.client.asked import Asked, give_options
from taskloom.engines.cluster.client.functions import Function, Functions, Shape, Shaped, runnable
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.state import State
from taskloom.engines.cluster.scheduler.tasks import Slice
from taskloom.engines.processes_errors import argument_stays, function_stays
from taskloom.engines.worker.parcel import is_plain
from taskloom.graph import Key, Plan, function_name


class Packing:
    """Makes ids of the arguments of tasks, for one slice.

    Parameters
    ----------
    session : of the client that submits them.

    Attributes
    ----------
    data : packed constants, by id: each object once.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.functions: Functions = session.functions
        self.data: dict[int, Any] = {}
        self._ids: dict[int, int] = {}  # of constants, by identity
        self._held: list[Any] = []  # so that identities last
        self._used: dict[int, Function] = {}  # functions, by code

    def shaped(self, key: Key, function: Any, names: Sequence[str], places: Sequence[int], count: int) -> Function:
        """A function that is called with names, or with arguments that are put together there."""
        try:
            found = self.functions.find_shaped(function, (tuple(names), tuple(places), count))
        except Exception as error:
            raise function_stays(key, function, error) from error
        self._used[found.code] = found
        return found

    def own(self, future: Future) -> State:
        """The state of a future of this client.

        Raises
        ------
        ValueError
            It is another client's, or was released.
        """
        if future._client._session is not self.session:
            raise ValueError(f"{future!r} belongs to another client: use its result, or that client.")
        future._check_held()
        return future._state

    def future(self, future: Future) -> int:
        """The id of a future that is an argument."""
        state = self.own(future)
        if state.status in ("cancelled", "lost"):
            error = state.error()
            assert error is not None
            raise error
        return state.id

    def constant(self, key: Key, value: Any) -> int:
        """The id of a constant that does not travel as it is."""
        number = self._ids.get(id(value))
        if number is None:
            try:
                parcel = self.session.pack(value)
            except Exception as error:
                raise argument_stays(key, value, error) from error
            number = self._ids[id(value)] = self.session.allocate(1)
            self.data[number] = parcel
            self._held.append(value)
        return number

    def template(self, value: Any, fillings: list[int]) -> Any:
        """The value with slots for the futures inside of it, whose ids are appended to `fillings`."""

        def find(item: Any) -> int | None:
            if item.__class__ is not Future:
                return None
            fillings.append(self.future(item))
            return len(fillings) - 1

        return extract(value, find)

    def parcels(self, slice: Slice) -> list[Any]:
        """The parcels of a slice: of functions that have not been sent, and of constants.

        Whoever calls this holds the lock under which the slice is sent: a function must not be used before it is there.
        """
        parcels: list[Any] = []
        for code, function in self._used.items():
            if function.parcel is not None:
                slice.functions[code] = len(parcels)
                parcels.append(function.parcel)
        for number, parcel in self.data.items():
            slice.data[number] = len(parcels)
            parcels.append(parcel)
        return parcels

    def is_sent(self) -> None:
        """Note that its functions need not be sent again. Were this done before, an interrupt could keep them here."""
        for function in self._used.values():
            function.parcel = None


class Draft(Packing):
    """Calls that will be a slice: `add` them, then submit.

    Parameters
    ----------
    session : of the client that submits them.
    chosen : whether a user gave their keys.
    """

    def __init__(self, session: Any, chosen: bool = False) -> None:
        super().__init__(session)
        self._chosen = chosen
        self.keys: list[Key] = []
        self.codes: list[int] = []
        self.bases: list[int] = []  # the codes of the functions themselves, however they are called
        self.args: list[tuple[int, ...]] = []
        self.plains: list[tuple[Any, ...]] = []
        self.function_names: list[str] = []

    def add(self, key: Key, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """A call of a function. Futures among its arguments, also inside of containers, stand for their results.

        Raises
        ------
        SerializationError
            An argument cannot be pickled.
        """
        numbers: list[int] = []
        plains: list[Any] = []
        fillings: list[int] = []
        places: list[int] = []
        for place, arg in enumerate((*args, *kwargs.values()) if kwargs else args):
            if is_plain(arg):
                plains.append(arg)
                numbers.append(-len(plains))
            elif arg.__class__ is Future:
                numbers.append(self.future(arg))
            else:
                template = self.template(arg, fillings)
                if template is not arg:
                    places.append(place)
                numbers.append(self.constant(key, template))
        self.bases.append(function.code)
        if kwargs or places:
            function = self.shaped(key, function.function, tuple(kwargs), places, len(fillings))
            numbers += fillings
        else:
            self._used[function.code] = function
        self.keys.append(key)
        self.codes.append(function.code)
        self.args.append(tuple(numbers))
        self.plains.append(tuple(plains))
        self.function_names.append(function.name)

    def drop(self, names: Mapping[Key, State]) -> None:
        """Leave out the calls of which there are futures already."""
        if names.keys().isdisjoint(self.keys):
            return
        kept = [i for i, key in enumerate(self.keys) if (state := names.get(key)) is None or not state.is_usable]
        columns: list[list[Any]] = [self.keys, self.codes, self.bases, self.args, self.plains, self.function_names]
        for column in columns:
            column[:] = [column[i] for i in kept]

    def finish(self, first: int, asked: Asked, named: bool) -> tuple[Slice, list[Any]]:
        """The slice, whose first task has the id `first`, and its parcels."""
        slice = Slice(first, self.keys, self.codes, self.args, self.plains, named=named, chosen=self._chosen)
        slice.wanted = list(range(first, first + len(self.keys)))
        return give_options(slice, asked) if asked else slice, self.parcels(slice)


class PlanDraft(Packing):
    """A plan that will be a slice. The requested results are wanted.

    Parameters
    ----------
    session : of the client that submits it.
    plan : compiled graph; `Future` objects among its constants stand for their results.
    call : calls functions with arguments, where those of the plan should not be called directly.

    Attributes
    ----------
    first : the id of its first task.
    own_codes : the codes of functions that nobody else uses.
    """

    def __init__(self, session: Any, plan: Plan, call: Callable[..., Any] | None = None) -> None:
        super().__init__(session)
        self.plan = plan
        self.own_codes: list[int] = []
        self._call = call
        self.first: int = session.allocate(len(plan))
        self._constants: list[Any] = []  # per constant: a tuple with it where it is plain, its id, or its template

    def finish(self, asked: Asked, *, wanted: list[int], named: bool, bring: bool) -> Slice:
        """The slice, without the numbers of its parcels.

        Raises
        ------
        SerializationError
            A function or constant cannot be pickled.
        ValueError
            How a task is to be run makes no sense.
        """
        plan, first = self.plan, self.first
        known: dict[int, Any] = {}
        codes = []
        for task, function in enumerate(plan.functions):
            found = known.get(id(function))
            if found is None:
                found = known[id(function)] = self._code(plan.keys[task], function)
            codes.append(found)
        args: list[tuple[int, ...]] = []
        plains: list[tuple[Any, ...]] = []
        self._constants = [(value,) if is_plain(value) else None for value in plan.constants]
        constants = self._constants
        for task, arg in enumerate(plan.args):
            if arg.__class__ is int:
                if arg >= 0:
                    args.append((arg + first,))
                    plains.append(())
                    continue
                constant = constants[-arg - 1]
                if constant.__class__ is tuple:
                    args.append(_FIRST)
                    plains.append(constant)
                    continue
                arg = (arg,)
            elif not arg or min(arg) >= 0:
                args.append(tuple([slot + first for slot in arg]))
                plains.append(())
                continue
            self._add(task, arg, codes, args, plains)
        slice = Slice(first, plan.keys, codes, args, plains, wanted=wanted, named=named, bring=bring)
        return give_options(slice, asked, plan.annotations)

    def _add(
        self,
        task: int,
        slots: tuple[int, ...],
        codes: list[int],
        args: list[tuple[int, ...]],
        plains: list[tuple[Any, ...]],
    ) -> None:
        """A task with constants among its arguments."""
        plan, first, constants = self.plan, self.first, self._constants
        numbers: list[int] = []
        plain: list[Any] = []
        fillings: list[int] = []
        places: list[int] = []
        for place, slot in enumerate(slots):
            if slot >= 0:
                numbers.append(slot + first)
                continue
            constant = constants[-slot - 1]
            if constant is None:
                constant = constants[-slot - 1] = self._look_into(plan.keys[task], plan.constants[-slot - 1])
            if constant.__class__ is tuple:
                plain.append(constant[0])
                numbers.append(-len(plain))
            elif constant.__class__ is int:
                numbers.append(constant)
            else:
                places.append(place)
                numbers.append(constant(fillings))
        if places:
            function = plan.functions[task]
            codes[task] = self._code(plan.keys[task], function, ((), tuple(places), len(fillings)))
            numbers += fillings
        args.append(tuple(numbers))
        plains.append(tuple(plain))

    def _code(self, key: Key, function: Callable[..., Any], shape: Shape | None = None) -> int:
        """The code of a function, called with values as they are or arranged in some shape."""
        if self._call is None:
            found = self.session.function(key, function) if shape is None else self.shaped(key, function, *shape)
            self._used[found.code] = found
            return found.code
        called = partial(self._call, runnable(function) if shape is None else Shaped(runnable(function), shape))
        code: int = self.session.allocate(1)
        self.own_codes.append(code)
        self._used[code] = Function(called, code, self.session.pack(called), ())
        return code

    def _look_into(self, key: Key, value: Any) -> int | Callable[[list[int]], int]:
        """The id of a constant, or of one with futures in it a function that packs it with slots for them."""
        if value.__class__ is Future:
            return self.future(value)
        if self.template(value, []) is value:
            return self.constant(key, value)
        return lambda fillings: self.constant(key, self.template(value, fillings))


def pack_call(session: Any, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A parcel of a call, for `Client.run`.

    Raises
    ------
    SerializationError
        The function or an argument cannot be pickled.
    """
    key = f"run of {function_name(function)}"
    try:
        return session.pack((function, tuple(args), dict(kwargs)))
    except Exception as error:
        for part in (function, *args, *kwargs.values()):
            try:
                session.pack(part).close()
            except Exception as caught:
                stays = function_stays if part is function else argument_stays
                raise stays(key, part, caught) from caught
        raise argument_stays(key, args, error) from error


_FIRST = (-1,)
