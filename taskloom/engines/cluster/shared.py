"""The cluster that this process makes where a graph is to run on one and no client is open."""

from __future__ import annotations

import os
import threading

from taskloom import config
from taskloom.engines.cluster.client.client import Client
from taskloom.engines.cluster.client.current import own_client
from taskloom.engines.cluster.engine import DistributedEngine


def open_client() -> Client:
    """The newest open client; where there is none, one of a cluster that stays until the process ends.

    That cluster is replaced when it is gone, or when the settings for new clusters have changed and nothing runs on it.
    """
    return own_client() or _shared.client()


class _Shared:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._settings: list[object] = []

    def client(self) -> Client:
        settings = [config.get(name) for name in DistributedEngine.settings]
        with self._lock:
            client = self._client
            if client is not None and (client.is_lost or (settings != self._settings and client.is_idle)):
                client.close()
                client = None
            if client is None:
                # With an option of its cluster it makes one, whatever address Dask's configuration names.
                client = self._client = Client(n_workers=None, set_as_default=False)
                self._settings = settings
            return client


_shared = _Shared()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _shared.__init__())  # type: ignore[misc]  # the cluster is the parent's
