"""What a client can tell of its cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Coroutine, Iterable
from functools import lru_cache
from tempfile import gettempdir
from time import time
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.hearing import WorkerInfo
from taskloom.engines.cluster.client.options import worker_names
from taskloom.engines.cluster.client.reply import Reply, block, in_loop
from taskloom.engines.cluster.client.session import Session
from taskloom.graph import Key, task_name

if TYPE_CHECKING:
    import psutil


class ClusterInfo:
    """Questions to a cluster. Workers go by their names, such as ``"worker-0"``."""

    _session: Session
    asynchronous: bool

    def _do(self, steps: Coroutine[Reply, None, Any], timeout: float | None = None) -> Any:
        """The result of a coroutine; in an asynchronous client, something to await that gives it."""
        __tracebackhide__ = True
        return in_loop(steps, timeout) if self.asynchronous else block(steps, timeout)

    def _block_on(self, steps: Coroutine[Reply, None, Any], timeout: float | None = None) -> Any:
        """The result of a coroutine, also in an asynchronous client."""
        __tracebackhide__ = True
        return block(steps, timeout)

    def _workers(self, workers: Any = None) -> list[WorkerInfo]:
        """The workers that are meant; all by default."""
        there = sorted(self._session.workers.values(), key=lambda worker: worker.number)
        if workers is None:
            return there
        names = worker_names(workers)
        unknown = set(names) - {worker.name for worker in there}
        if unknown:
            known = ", ".join(worker.name for worker in there) or "none"
            raise ValueError(f"There is no worker {sorted(unknown)[0]!r}. There are: {known}.")
        return [worker for worker in there if worker.name in names]

    def _name(self, number: int) -> str:
        worker = self._session.workers.get(number)
        return f"worker-{number}" if worker is None else worker.name

    def nthreads(self, workers: Any = None) -> Any:
        """Worker -> how many tasks it runs at a time."""

        async def answer() -> dict[str, int]:
            return {worker.name: worker.threads for worker in self._workers(workers)}

        return self._do(answer())

    ncores = nthreads

    def who_has(self, futures: Any = None) -> Any:
        """Key -> names of the workers that hold its result; of some futures, or of all that this client has."""
        return self._do(self._who_has(futures))

    async def _who_has(self, futures: Any) -> dict[Key, tuple[str, ...]]:
        from taskloom.engines.cluster.client.waiting import futures_in

        session = self._session
        states = list(session.states.values()) if futures is None else [future._state for future in futures_in(futures)]
        found, _ = await session.answer("who_has", [state.id for state in states])
        return {state.key: tuple([self._name(worker) for worker in found.get(state.id, ())]) for state in states}

    def has_what(self, workers: Any = None) -> Any:
        """Worker -> keys of the results that it holds."""
        return self._do(self._by_worker("has_what", workers))

    def nbytes(self, keys: Iterable[Key] | None = None, summary: bool = True) -> Any:
        """Key -> bytes of its result, in memory or on disk; of some keys, or of all that the workers hold.

        Parameters
        ----------
        summary : True: by the names of tasks, see `taskloom.graph.task_name`, in place of keys.
        """
        return self._do(self._nbytes(keys, summary))

    async def _nbytes(self, keys: Iterable[Key] | None, summary: bool) -> dict[Key, int]:
        found, _ = await self._session.answer("nbytes")
        wanted = found if keys is None else [key for key in keys if key in found]
        sizes: dict[Key, int] = defaultdict(int)
        for key in wanted:
            sizes[task_name(key) if summary else key] += found[key]
        return dict(sizes)

    def futures_of(self, futures: Any) -> list[Future]:
        """The futures in a value, see `taskloom.distributed.futures_of`."""
        from taskloom.engines.cluster.client.waiting import futures_in

        return futures_in(futures)

    def processing(self, workers: Any = None) -> Any:
        """Worker -> keys of the tasks that it runs, or was given to run."""
        return self._do(self._by_worker("processing", workers))

    async def _by_worker(self, what: str, workers: Any) -> dict[str, tuple[Key, ...]]:
        found, _ = await self._session.answer(what)
        return {worker.name: tuple(found.get(worker.number, ())) for worker in self._workers(workers)}

    def call_stack(self, futures: Any = None, keys: Iterable[Key] | None = None) -> Any:
        """Worker -> key -> where the task is right now, as lines of text; of those that run, or some of them."""
        return self._do(self._call_stack(futures, keys))

    async def _call_stack(self, futures: Any, keys: Iterable[Key] | None) -> dict[str, dict[Key, list[str]]]:
        from taskloom.engines.cluster.client.waiting import futures_in

        ids = None
        if futures is not None or keys is not None:
            names = set(keys or ())
            ids = [future._state.id for future in futures_in(futures)]
            ids += [state.id for state in list(self._session.states.values()) if state.key in names]
        found, _ = await self._session.answer("call_stack", ids)
        return {self._name(worker): stacks for worker, stacks in found.items() if stacks}

    def scheduler_info(self, n_workers: int = -1) -> Any:
        """What there is to know of the cluster and its workers, in the shape that dask.distributed gives it.

        Parameters
        ----------
        n_workers : of how many workers at most; -1 for all.
        """
        return self._do(self._scheduler_info(n_workers))

    async def _scheduler_info(self, n_workers: int) -> dict[str, Any]:
        info, _ = await self._session.answer("info")
        workers = info["workers"] if n_workers < 0 else info["workers"][:n_workers]
        address = info.get("address")
        return {
            "type": "Scheduler",
            "id": info.get("name") or "",
            "address": address,
            "services": {},
            "started": info["started"],
            "n_workers": len(info["workers"]),
            "total_threads": sum([worker["threads"] for worker in info["workers"]]),
            "total_memory": sum([worker["memory_limit"] or 0 for worker in info["workers"]]),
            "workers": {worker["name"]: worker_info(worker) for worker in workers},
        }

    def run(
        self,
        function: Any,
        *args: Any,
        workers: Any = None,
        wait: bool = True,
        on_error: str = "raise",
        **kwargs: Any,
    ) -> Any:
        """Call a function once on each worker, outside of the slots for tasks: worker -> what it returned.

        Parameters
        ----------
        function : a function, or a coroutine function.
        workers : names of workers; by default all.
        wait : False: return None at once.
        on_error : ``"raise"`` what it raised; ``"return"`` the exception in place of a result; ``"ignore"``: leave
            such workers out.

        Raises
        ------
        SerializationError
            The function or an argument cannot be pickled.
        """
        if on_error not in ("raise", "return", "ignore"):
            raise ValueError(f'on_error={on_error!r} cannot be used: it takes "raise", "return" or "ignore".')
        return self._do(self._run(function, args, kwargs, workers, wait, on_error))

    async def _run(
        self, function: Any, args: Any, kwargs: Any, workers: Any, wait: bool, on_error: str
    ) -> dict[str, Any] | None:
        from taskloom.engines.cluster.client.compile import pack_call

        session = self._session
        numbers = None if workers is None else [worker.number for worker in self._workers(workers)]
        parcel = pack_call(session, function, args, kwargs)
        found, parcels = await session.answer("run", numbers, wait, parcels=(parcel,))
        if not wait:
            return None
        results = {}
        for worker, (ok, outcome) in sorted(found.items()):
            if ok:
                results[self._name(worker)] = None if outcome is None else parcels[outcome].value()
                continue
            error = session.connection.unpack_error(outcome)
            if on_error == "raise":
                raise error
            if on_error == "return":
                results[self._name(worker)] = error
        for parcel in parcels:
            parcel.close()
        return results

    def run_on_scheduler(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Not there: the coordinator runs no code of users, which could hold up everything."""
        raise NotImplementedError(
            "taskloom's coordinator runs no code of users, which could hold up the cluster. Client.run calls a "
            "function on the workers."
        )

    def wait_for_workers(self, n_workers: int, timeout: Any = None) -> Any:
        """Wait until there are so many workers.

        Raises
        ------
        TimeoutError
            There are not within `timeout` seconds.
        """
        from taskloom.engines.cluster.client.options import seconds_of

        seconds = seconds_of(timeout)

        async def answer() -> None:
            await self._session.answer("wait_for_workers", n_workers)

        async def in_time() -> None:
            try:
                await in_loop(answer(), seconds)
            except TimeoutError as error:
                raise TimeoutError(self._too_few(n_workers, seconds)) from error

        if self.asynchronous:
            return in_time()
        try:
            return block(answer(), seconds)
        except TimeoutError as error:
            raise TimeoutError(self._too_few(n_workers, seconds)) from error

    def _too_few(self, wanted: int, seconds: float | None) -> str:
        return f"After {seconds:g} s there are {len(self._session.workers)} of the {wanted} workers waited for."

    def restart(self, timeout: Any = None, wait_for_workers: bool = True) -> Any:
        """Cancel all futures, and have new workers in place of those there are."""
        from taskloom.engines.cluster.client.options import seconds_of

        async def answer() -> None:
            n = len(self._session.workers)
            await self._session.answer("restart")
            if wait_for_workers:
                await self._session.answer("wait_for_workers", n)

        return self._do(answer(), seconds_of(timeout))

    def _key_of(self, id: int) -> Key:
        """The key of a task that the cluster knows by this id."""
        key, _ = block(self._session.answer("key_of", id))
        return key  # type: ignore[no-any-return]

    def _held_at(self, worker: int) -> dict[Key, int]:
        """The keys and ids of the results that a worker holds."""
        held, _ = block(self._session.answer("held_at", worker))
        return held  # type: ignore[no-any-return]

    def _futures(self) -> dict[Key, Any]:
        return {state.key: state for state in list(self._session.states.values())}

    @property
    def futures(self) -> dict[Key, Any]:
        """Key -> state of the futures that this client has."""
        return self._futures()

    def _future_of(self, key: Key) -> Future:
        return Future(key, self)  # type: ignore[arg-type]


def worker_info(worker: dict[str, Any]) -> dict[str, Any]:
    """A worker in the shape that dask.distributed gives it."""
    return {
        "type": "Worker",
        "id": worker["name"],
        "name": worker["name"],
        "host": "127.0.0.1",
        "pid": worker["pid"],
        "nthreads": worker["threads"],
        "memory_limit": worker["memory_limit"],
        "resources": worker["resources"],
        "status": worker["status"],
        "last_seen": time(),  # what ends is known to have ended at once
        "services": {},
        "local_directory": gettempdir(),
        "metrics": {
            **_used(worker["pid"]),
            "executing": worker["executing"],
            "in_memory": worker["keys"],
            "managed_bytes": worker["managed"],
            "spilled_bytes": {"memory": max(0.0, worker["held"] - worker["managed"]), "disk": worker["spilled"]},
            "transfer": {"incoming_bytes": worker["incoming"], "outgoing_bytes": worker["outgoing"]},
            "peak_managed_bytes": worker["peak"],
        },
    }


def _used(pid: int) -> dict[str, float]:
    """What a process of this machine uses: CPU in percent since it was asked for the last time, and bytes of memory."""
    import psutil

    try:
        process = _process(pid)
        return {"cpu": process.cpu_percent(), "memory": process.memory_info().rss}
    except psutil.Error:  # it has just ended
        return {"cpu": 0.0, "memory": 0}


@lru_cache(maxsize=256)
def _process(pid: int) -> psutil.Process:
    import psutil

    return psutil.Process(pid)
