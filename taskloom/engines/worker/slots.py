"""What a worker knows of a run: functions, recipes, and the results that are held here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any

from taskloom.engines.measure import bytes_of
from taskloom.engines.worker.failure import pack_error
from taskloom.engines.worker.page import NOTHING, PACKING
from taskloom.engines.worker.parcel import Parcel, is_plain

_GONE = object()
ENDLESS = 1 << 60  # uses of what is never released: constants, and what the caller asked for


class Slots:
    """The tasks of a run that this worker has heard of, by number, and values by slot.

    A slot is a task or, below 0, a constant.
    """

    def __init__(self, run: float, size: int, constants: int) -> None:
        self.run = run
        self.returns = 0  # how often a batch was given back unfinished
        self.codes = [0] * size  # per task the number of its function
        self.args: list[Any] = [()] * size
        self.uses = [0] * size + [ENDLESS] * constants  # per slot how many uses are left; constants from the end
        self.functions: list[Any] = []  # by code; None until the first task that calls it
        self.results: dict[int, Any] = {}
        self.packed: dict[int, Parcel] = {}  # values that have come and not been looked at
        self.requested: set[int] = set()
        self._function_parcels: dict[int, Parcel] = {}

    def learn(self, chunk: tuple[Any, ...], parcels: Sequence[Parcel]) -> None:
        """Take in a part of the plan."""
        first, codes, args, uses, functions, plain, packed, requested = chunk
        end = first + len(codes)
        self.codes[first:end], self.args[first:end], self.uses[first:end] = codes, args, uses
        for code, number in functions.items():
            self._function_parcels[code] = parcels[number]
        self.functions += [None] * (max(functions, default=-1) + 1 - len(self.functions))
        self.results.update(plain)
        for slot, number in packed.items():
            self.packed[slot] = parcels[number]
        self.requested.update(requested)
        for task in requested:
            self.uses[task] = ENDLESS

    def function(self, task: int) -> Any:
        """The function of a task, unpickled now: if that goes wrong, it is this task's fault."""
        code = self.codes[task]
        self.functions[code] = function = self._function_parcels[code].value()
        return function

    def unpack(self, slot: int) -> None:
        parcel = self.packed[slot]
        self.results[slot] = parcel.value()
        del self.packed[slot]
        parcel.close()

    def drop(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self.results.pop(slot, None)
            parcel = self.packed.pop(slot, None)
            if parcel is not None:
                parcel.close()

    def close(self) -> None:
        """Give up what has come and was not looked at, and the functions."""
        for parcels in (self.packed, self._function_parcels):
            for parcel in parcels.values():
                parcel.close()

    def missing(self, task: int) -> list[int]:
        """The inputs of a task that are not here."""
        arg = self.args[task]
        slots = (arg,) if arg.__class__ is int else arg
        return [slot for slot in slots if slot not in self.results and slot not in self.packed]

    def parcel(self, slot: int) -> Parcel:
        """A copy of the result in this slot, for somebody else; raises `KeyError` if it is not here."""
        return Parcel.of(self.results[slot])

    def look_over(
        self, tasks: Sequence[int], page: memoryview[float]
    ) -> tuple[dict[int, Any], dict[int, float], tuple[dict[int, Parcel], dict[int, bytes]]]:
        """Of tasks that are done: the small values, the sizes of others, and, of those that the caller wants, parcels
        and the errors that packing them raised. The page says which one is at work: its methods may end the process."""
        values: dict[int, Any] = {}
        sizes: dict[int, float] = {}
        parcels: dict[int, Parcel] = {}
        errors: dict[int, bytes] = {}
        results, requested = self.results, self.requested
        for task in tasks:
            value = results.get(task, _GONE)  # in one step: the other thread may be running its last user
            if value is _GONE:
                continue
            if value is None or is_plain(value):
                values[task] = value
                continue
            page[PACKING] = task
            nbytes = bytes_of(value)
            sizes[task] = 0.0 if isnan(nbytes) else nbytes
            if task in requested:
                try:
                    parcels[task] = Parcel.of(value)
                except BaseException as error:
                    errors[task] = pack_error(error)
        page[PACKING] = NOTHING
        return values, sizes, (parcels, errors)
