"""Values that stay in their process: what a parcel is for those that travel."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any

from taskloom.engines.measure import bytes_of


@dataclass(slots=True)
class Loose:
    """A reference to a value, with the interface of `Parcel`: nothing is pickled, and nothing copied.

    >>> value = [1, 2]
    >>> Loose.of(value).value() is value
    True
    """

    _value: Any
    nbytes: int = 0

    files = ()

    @classmethod
    def of(cls, value: Any) -> Loose:
        nbytes = bytes_of(value)
        return cls(value, 0 if isnan(nbytes) else int(nbytes))

    def value(self) -> Any:
        return self._value

    def copy(self) -> Loose:
        return self

    def close(self) -> None:
        pass
