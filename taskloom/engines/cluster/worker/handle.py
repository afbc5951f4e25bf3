"""What a user's code inside of a worker has of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.elsewhere import library_of
from taskloom.engines.cluster.compared import WORKER, compared
from taskloom.engines.cluster.worker.place import WorkerInfo, current_task, worker_here
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker

_UNIX = "unix://"


@compared(WORKER)
class WorkerHandle:
    """A worker, for the tasks, actors and plugins inside of it. They may keep state on it, as attributes of any name.

    Attributes
    ----------
    name : such as ``"worker-0"``; also by the names `id` and `address`, as ``workers=`` takes it.
    number : no other worker of the cluster has had it.
    nthreads : how many tasks it runs at a time.
    scheduler_address : where clients connect, also to be had by `get_client`.
    plugins : those that are set up, by name.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._directory = ""
        self.pid = os.getpid()
        self.join(worker.info)

    def join(self, info: WorkerInfo) -> None:
        """It is known now who it is."""
        self.number = info.number
        self.name = self.id = self.address = info.name
        self.nthreads = info.threads
        self.scheduler_address = info.address

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The plugins that are set up, by name."""
        return self._worker.plugins.there

    @property
    def client(self) -> Any:
        """A client of its cluster."""
        from taskloom.engines.cluster.client.current import get_client

        return get_client()

    @property
    def data(self) -> Mapping[Key, Any]:
        """The results that it holds, by key. Each look asks the coordinator."""
        return _Data(self._worker, self.client)

    def get_current_task(self) -> Key:
        """The key of the task that the caller is inside of."""
        task = current_task()
        if task is None:
            raise ValueError("There is no task here.")
        key: Key = self.client._key_of(task[1])
        return key

    @property
    def local_directory(self) -> str:
        """A private directory for files, which goes with the worker."""
        if not self._directory:
            self._directory = _new_directory(self.name, self.number, self.scheduler_address)
        return self._directory

    def close(self) -> None:
        """The worker ends."""
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<Worker {self.name!r}, number: {self.number}, threads: {self.nthreads}>"


def _new_directory(name: str, number: int, address: str | None) -> str:
    """In the private directory of the cluster, which is swept whatever becomes of the cluster; of threads, anywhere."""
    if address is None or not address.startswith(_UNIX):
        return tempfile.mkdtemp(prefix=f"taskloom-{name}-")
    path = Path(address.removeprefix(_UNIX)).parent / f"{name}.{number}"
    path.mkdir(mode=0o700, exist_ok=True)
    return str(path)


class _Data(Mapping[Key, Any]):
    """Reads the results in a worker by their keys, which the coordinator knows."""

    def __init__(self, worker: Worker, client: Any) -> None:
        self._worker = worker
        self._client = client

    def _ids(self) -> dict[Key, int]:
        ids: dict[Key, int] = self._client._held_at(self._worker.info.number)
        return ids

    def __getitem__(self, key: Key) -> Any:
        return self._worker.store.value(self._ids()[key])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())


def get_worker() -> WorkerHandle:
    """The worker that the calling task, actor, plugin or function given to `Client.run` is inside of.

    Raises
    ------
    ValueError
        The caller is in none.

    Examples
    --------
    >>> from taskloom.distributed import Client
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     client.submit(lambda: get_worker().name).result()
    'worker-0'
    """
    worker = worker_here()
    if worker is None and (theirs := library_of()) is not None:
        return theirs.get_worker()  # type: ignore[no-any-return]
    if worker is None:
        raise ValueError("There is no worker here: call it inside of a task.")
    return worker.handle
