"""Dask's own clusters on taskloom's bus: their schedulers tell of the tasks that clients of this process submit."""

import distributed  # noqa: F401 - first: who waits for its import may call `follow` at once

from taskloom.adapters.distributed.following import connect, follow, unfollow

__all__ = ["connect", "follow", "unfollow"]
