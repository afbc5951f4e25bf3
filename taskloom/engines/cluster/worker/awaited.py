"""What a user's function returns, whether it is a coroutine function or not."""

from __future__ import annotations

import asyncio
from typing import Any


def awaited(result: Any) -> Any:
    """A result; of something to await, what that gives, by an event loop of its own.

    >>> async def twice(x): return 2 * x
    >>> awaited(twice(4)), awaited(5)
    (8, 5)
    """
    return asyncio.run(_await(result)) if hasattr(result, "__await__") else result


async def _await(result: Any) -> Any:
    return await result
