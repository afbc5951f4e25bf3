"""The errors taskloom itself raises. A user's own exception is never wrapped: it arrives as itself."""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CycleError",
    "GraphError",
    "MissingDependencyError",
    "SerializationError",
    "SpillError",
    "TaskloomError",
    "UnknownKeyError",
    "WorkerDied",
]


class TaskloomError(Exception):
    """Base class of every error that taskloom raises on its own account."""


class GraphError(TaskloomError):
    """A graph that cannot be run. The message names the keys; nothing has run yet."""


class UnknownKeyError(GraphError, KeyError):
    """A requested key that is not in the graph."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0])


class MissingDependencyError(GraphError, ValueError):
    """A task refers to a key that is not in the graph."""


class CycleError(GraphError, ValueError, RuntimeError):
    """Tasks that wait for each other. Dask raises a RuntimeError for them, so it is one, too."""


class ConfigError(TaskloomError, ValueError):
    """A setting or an option value that cannot be used. The message says where it came from and what is allowed."""


class WorkerDied(TaskloomError):
    """A task ended its worker process each time it was tried. The message names the task and how the worker ended."""


class SerializationError(TaskloomError):
    """Something cannot travel between processes. The message names the task and the object; the cause says why."""


class SpillError(TaskloomError, MemoryError):
    """A result finds no room, neither in memory nor on disk. The message names the directory and the sizes."""
