"""Who computes: the engines, by each of their names."""

from typing import Any

from taskloom import config
from taskloom.engines.base import Engine
from taskloom.engines.cluster.engine import DistributedEngine
from taskloom.engines.processes import ProcessesEngine
from taskloom.engines.sync import SyncEngine
from taskloom.engines.threads import ThreadsEngine
from taskloom.errors import ConfigError
from taskloom.graph import did_you_mean

# A new engine is registered by one entry here.
ENGINES: dict[str, Engine] = {
    name: engine
    for engine in (SyncEngine(), ThreadsEngine(), ProcessesEngine(), DistributedEngine())
    for name in engine.names
}

__all__ = ["ENGINES", "Engine", "engine_named", "find_engine"]


def engine_named(scheduler: Any) -> Engine | None:
    """The engine that a scheduler names, in upper or lower case; None where that is no name of one."""
    return ENGINES.get(scheduler.strip().lower()) if isinstance(scheduler, str) else None


def find_engine(name: str) -> Engine:
    """The engine with this name, in upper or lower case.

    Raises
    ------
    ConfigError
        No engine of this build has the name; the message lists those there are, and the nearest.
    """
    engine = ENGINES.get(name) or engine_named(name)
    if engine is None:
        hint = did_you_mean(name.lower(), ENGINES)
        known = "; ".join(" or ".join(map(repr, engine.names)) for engine in dict.fromkeys(ENGINES.values()))
        raise ConfigError(f"No engine is called {name!r}.{hint} There are {known}.")
    return engine


config.check_scheduler_names(find_engine)
