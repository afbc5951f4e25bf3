"""What a client has all workers do: plugins, files, and the versions of what is installed."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from typing import Any

from taskloom.engines.cluster.client.info import ClusterInfo
from taskloom.engines.cluster.client.watching import Watching
from taskloom.engines.cluster.compared import SCHEDULER_PLUGIN
from taskloom.engines.cluster.plugin import SchedulerPlugin, UploadFile, WorkerPlugin
from taskloom.engines.cluster.versions import mismatches, versions
from taskloom.engines.cluster.worker.plugins import is_watching
from taskloom.engines.processes_errors import describe
from taskloom.engines.worker.parcel import dumps
from taskloom.errors import SerializationError


def _warn_of_unheard(plugin: SchedulerPlugin) -> None:
    for method, instead in SCHEDULER_PLUGIN.missing.items():
        own = getattr(plugin, method, None)
        if own is not None and not str(getattr(own, "__module__", "")).startswith("distributed."):  # a default there
            warnings.warn(
                f"{type(plugin).__name__}.{method} is never called, unlike in dask.distributed. {instead}",
                UserWarning,
                stacklevel=3,
            )


class Plugging(ClusterInfo):
    """Plugins of the cluster."""

    def register_plugin(self, plugin: Any, name: str | None = None, idempotent: bool | None = None) -> Any:
        """Have a plugin in all workers, those there are and those that come: worker -> ``{"status": "OK"}``.

        A `SchedulerPlugin` stays in this process.

        Parameters
        ----------
        plugin : a `WorkerPlugin` or `SchedulerPlugin`.
        name : by default its attribute `name`, or else a new one. It takes the place of a plugin with the same name.
        idempotent : True: it is passed over if there is one of its name; by default as its attribute says.

        Raises
        ------
        SerializationError
            It cannot be pickled.
        Exception
            What its `setup` has raised in one of the workers; it is then taken back from all of them.
        """
        if name is None:
            name = getattr(plugin, "name", None) or f"{type(plugin).__name__}-{uuid.uuid4()}"
        if idempotent is None:
            idempotent = bool(getattr(plugin, "idempotent", False))
        if isinstance(plugin, SchedulerPlugin):
            _warn_of_unheard(plugin)
            return self._watch(plugin, name, idempotent)
        if not isinstance(plugin, WorkerPlugin):
            raise TypeError(
                f"A plugin is a WorkerPlugin or a SchedulerPlugin, not {describe(plugin)}: derive its class from those."
            )
        return self._do(self._register(plugin, name, idempotent))

    def register_worker_plugin(self, plugin: Any, name: str | None = None, nanny: Any = None) -> Any:
        """The former name of `register_plugin`, which also takes objects of other classes that have such methods."""
        if name is None:
            name = getattr(plugin, "name", None) or f"{type(plugin).__name__}-{uuid.uuid4()}"
        return self._do(self._register(plugin, name, bool(getattr(plugin, "idempotent", False))))

    async def _register(self, plugin: Any, name: str, idempotent: bool) -> dict[str, Any]:
        try:
            packed = dumps(plugin)
        except Exception as error:
            raise SerializationError(f"The plugin {describe(name)} cannot be pickled: {error}") from error
        return await self._outcome(name, "register_plugin", packed, is_watching(plugin), idempotent)

    def unregister_worker_plugin(self, name: str, nanny: Any = None) -> Any:
        """Take a plugin away from all workers, which call its `teardown`: worker -> ``{"status": "OK"}``.

        Raises
        ------
        ValueError
            There is none of this name.
        """
        return self._do(self._outcome(name, "unregister_plugin"))

    async def _outcome(self, name: str, what: str, *args: Any) -> dict[str, Any]:
        names = {worker.number: worker.name for worker in self._workers()}
        answers, _ = await self._session.answer(what, name, *args)
        for worker, (ok, packed) in answers.items():
            if not ok:
                error = self._session.connection.unpack_error(packed)
                error.add_note(f"It comes from the plugin {describe(name)} in {names.get(worker, worker)}.")
                raise error
        return {names.get(worker, self._name(worker)): {"status": "OK"} for worker in sorted(answers)}

    def _watch(self, plugin: SchedulerPlugin, name: str, idempotent: bool) -> Any:
        session = self._session
        if not (idempotent and name in session.watchings):
            session.watch(name, Watching(session, self, plugin))

        async def nothing() -> dict[str, Any]:
            return {}

        return self._do(nothing())

    def unregister_scheduler_plugin(self, name: str) -> Any:
        """Take a `SchedulerPlugin` away, after what it has to hear of.

        Raises
        ------
        ValueError
            There is none of this name.
        """
        session = self._session
        if name not in session.watchings:
            known = ", ".join(map(repr, session.watchings)) or "none"
            raise ValueError(f"There is no plugin {describe(name)}. There are: {known}.")
        session.watch(name, None)

        async def nothing() -> None:
            return None

        return self._do(nothing())

    def upload_file(self, filename: Any, load: bool = True) -> Any:
        """Have a file in all workers, those there are and those that come; .py, .zip and .egg can be imported there.

        Parameters
        ----------
        filename : its path. Given again, it takes the place of the former one.
        load : whether a .py file is imported at once, so that its errors are raised here.
        """
        return self.register_plugin(UploadFile(filename, load=load))

    def get_versions(self, check: bool = False, packages: Sequence[str] | None = None) -> Any:
        """What is installed here, in the coordinator's process and in the workers.

        Parameters
        ----------
        check : warn if that is not the same everywhere.
        packages : names of further packages to look for.
        """
        return self._do(self._versions(check, list(packages or ())))

    async def _versions(self, check: bool, packages: list[str]) -> dict[str, Any]:
        scheduler, _ = await self._session.answer("versions", packages)
        workers = await self._run(versions, (packages,), {}, None, True, "ignore")
        found = {"scheduler": scheduler, "workers": workers or {}, "client": versions(packages)}
        if check and (text := mismatches(found)):
            warnings.warn(text, UserWarning, stacklevel=2)
        return found
