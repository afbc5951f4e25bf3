"""Who computes: the engines, by each of their names."""

from taskloom.engines.base import Engine
from taskloom.engines.sync import SyncEngine
from taskloom.engines.threads import ThreadsEngine

# A new engine is registered by one entry here.
ENGINES: dict[str, Engine] = {name: engine for engine in (SyncEngine(), ThreadsEngine()) for name in engine.names}

__all__ = ["ENGINES", "Engine"]
