"""The plan in parts, as worker processes are told of it: each once, and only those that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskloom.engines.processes_errors import argument_stays, function_stays
from taskloom.engines.worker.parcel import Parcel, is_plain
from taskloom.engines.worker.slots import ENDLESS
from taskloom.graph import Plan

SIZE = 4096  # tasks of a part


class Parts:
    """The parts of a plan. Functions and constants are pickled one by one, so that an error names the task."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requested = {slot for slot in plan.requested if slot >= 0}
        self.culprit = 0  # the task whose function or constant could not be pickled
        self._uses = _count_uses(plan)
        self._codes: dict[int, int] = {}  # of functions, by identity
        self._functions: list[Parcel] = []
        self._constants: dict[int, Parcel] = {}  # by identity
        self._made: dict[int, Any] = {}

    def needed(
        self, tasks: Iterable[int], known: set[int], functions: set[int]
    ) -> tuple[list[tuple[Any, ...]], list[Parcel]]:
        """The parts that some tasks need, beyond those and the functions that are known, and their parcels."""
        chunks: list[tuple[Any, ...]] = []
        parcels: list[Parcel] = []
        if tasks.__class__ is range:
            numbers: Iterable[int] = range(tasks[0] // SIZE, tasks[-1] // SIZE + 1)
        else:
            numbers = {task // SIZE for task in tasks}
        for number in numbers:
            if number in known:
                continue
            known.add(number)
            first, codes, args, uses, plain, packed, requested = self._part(number)
            new = set(codes) - functions
            functions |= new
            code_numbers = {code: len(parcels) + i for i, code in enumerate(new)}
            parcels += [self._functions[code] for code in new]
            packed_numbers = {}
            places: dict[int, int] = {}
            for slot, parcel in packed.items():
                if id(parcel) not in places:
                    places[id(parcel)] = len(parcels)
                    parcels.append(parcel)
                packed_numbers[slot] = places[id(parcel)]
            chunks.append((first, codes, args, uses, code_numbers, plain, packed_numbers, requested))
        return chunks, parcels

    def _part(self, number: int) -> Any:
        if number not in self._made:
            self._made[number] = self._make(number * SIZE)
        return self._made[number]

    def _make(self, first: int) -> Any:
        plan = self.plan
        end = min(first + SIZE, len(plan))
        codes = list(map(self._codes.get, map(id, plan.functions[first:end])))
        if None in codes:
            for task in range(first, end):
                if id(plan.functions[task]) not in self._codes:
                    self._learn(task)
            codes = list(map(self._codes.get, map(id, plan.functions[first:end])))
        args = plan.args[first:end]
        plain: dict[int, Any] = {}
        packed: dict[int, Parcel] = {}
        constants = plan.constants
        for offset, arg in enumerate(args):
            for slot in (arg,) if arg.__class__ is int else arg:
                if slot < 0:
                    value = constants[-slot - 1]
                    if value.__class__ is int or is_plain(value):
                        plain[slot] = value
                    else:
                        packed[slot] = self._constant(value, first + offset)
        requested = [task for task in range(first, end) if task in self.requested] if self.requested else []
        return first, codes, args, self._uses[first:end], plain, packed, requested

    def _learn(self, task: int) -> None:
        function = self.plan.functions[task]
        try:
            parcel = Parcel.of(function)
        except Exception as error:
            self.culprit = task
            raise function_stays(self.plan.keys[task], function, error) from error
        self._codes[id(function)] = len(self._functions)
        self._functions.append(parcel)

    def _constant(self, value: Any, task: int) -> Parcel:
        parcel = self._constants.get(id(value))
        if parcel is None:
            try:
                parcel = self._constants[id(value)] = Parcel.of(value)
            except Exception as error:
                self.culprit = task
                raise argument_stays(self.plan.keys[task], value, error) from error
        return parcel

    @property
    def nbytes(self) -> int:
        """Bytes of functions and constants that were pickled."""
        return sum([parcel.nbytes for parcel in (*self._functions, *self._constants.values())])

    def close(self) -> None:
        for parcel in (*self._functions, *self._constants.values()):
            parcel.close()


def _count_uses(plan: Plan) -> list[int]:
    uses = [0] * (len(plan) + len(plan.constants))
    for arg in plan.args:
        if arg.__class__ is int:
            uses[arg] += 1
        else:
            for slot in arg:
                uses[slot] += 1
    for slot in plan.requested:
        uses[slot] = ENDLESS
    return uses
