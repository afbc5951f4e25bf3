"""Dask's own clusters on taskloom's bus: their schedulers tell of the tasks that clients of this process submit."""

from taskloom.adapters.distributed.following import connect, follow, unfollow

__all__ = ["connect", "follow", "unfollow"]
