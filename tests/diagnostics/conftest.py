"""Graphs that the diagnostics' tests run."""

from operator import add, mul
from typing import Any

import pytest


@pytest.fixture
def small() -> dict[Any, Any]:
    """Data, two tasks, and one result that two tasks take."""
    return {"x": 1, "y": 2, "z": (add, "x", "y"), "w": (mul, "z", 10), "v": (sum, ["w", "z", ["x"]][:2])}
