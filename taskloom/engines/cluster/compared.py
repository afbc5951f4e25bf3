"""What is the same as in dask.distributed, what differs, and what is missing: for docstrings, and for who asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

_TITLE = "Compared with dask.distributed"

Class = TypeVar("Class", bound=type)


class Comparison(NamedTuple):
    """How names compare with those of dask.distributed.

    Attributes
    ----------
    same : names that mean the same, in a text with spaces between them.
    differs : name -> how. ``"Client()"`` stands for the arguments of a class.
    missing : name -> what to use instead.

    Examples
    --------
    >>> print(Comparison("get set", missing={"a": "Use get.", "b": "Use get."}).section())
    Compared with dask.distributed
    ------------------------------
    the same : get, set
    missing : a, b : Use get.
    """

    same: str
    differs: Mapping[str, str] = {}
    missing: Mapping[str, str] = {}

    def section(self) -> str:
        """What docstrings say of it."""
        lines = [_TITLE, "-" * len(_TITLE)]
        if self.same:
            lines.append(f"the same : {', '.join(self.same.split())}")
        for kind, texts in (("differs", self.differs), ("missing", self.missing)):
            for text in dict.fromkeys(texts.values()):
                alike = [name for name in texts if texts[name] == text]
                lines.append(f"{kind} : {', '.join(alike)} : {text}")
        return "\n".join(lines)

    def absent(self, owner: Any, name: str) -> Any:
        """Say what to use instead of an attribute that was not found.

        Raises
        ------
        AttributeError
            Always.
        """
        if name in self.missing:
            kind = type(owner).__name__
            raise AttributeError(f"{kind} has no {name!r}, unlike dask.distributed. {self.missing[name]}")
        return object.__getattribute__(owner, name)  # says what is wrong, also inside of a property


def compared(comparison: Comparison) -> Callable[[Class], Class]:
    """A decorator: the docstring of a class ends with the comparison, and its objects say what to use instead.

    That is not said by a method of the class, as type checkers would take every attribute to be there then.
    """

    def apply(cls: Class) -> Class:
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{comparison.section()}"
        if "__getattr__" not in vars(cls):
            cls.__getattr__ = lambda self, name: comparison.absent(self, name)  # type: ignore[attr-defined]
        return cls

    return apply


def names(text: str, meaning: str) -> dict[str, str]:
    """The same to say of several names.

    >>> names("a b", "Use c.")
    {'a': 'Use c.', 'b': 'Use c.'}
    """
    return dict.fromkeys(text.split(), meaning)


_LOOP = "Nothing here has an event loop of its own: what is asynchronous runs in yours."
_SYNC = "What is not asynchronous waits by itself."

#: What dask.distributed's Client and LocalCluster take beyond ours, and what to do instead.
OPTIONS_ELSEWHERE = {
    "adaptive": "Call adapt() on the cluster.",
    **names(
        "connection_limit deserializers direct_to_workers heartbeat_interval host interface ip protocol scheduler_port "
        "serializers",
        "A cluster is reached by a Unix socket of its owner's only: nothing listens on the network.",
    ),
    "diagnostics_port": "Say dashboard_address=.",
    "extensions": "Subscribe to topics: Client.subscribe_topic.",
    "loop": "A cluster runs on a thread of its own, with any event loop or none.",
    "nanny": "Workers that die are replaced.",
    **names("ncores nthreads", "Say threads_per_worker=."),
    "preload_nanny": "Call a function on all workers by Client.run.",
    "scheduler_file": "Clients of dask schedulers take it; here give the client the cluster's scheduler_address.",
    **names(
        "blocked_handlers scheduler_kwargs scheduler_sync_interval",
        "The coordinator has nothing to set, and runs no code of users.",
    ),
    "security": "It is safe as it is: a Unix socket of its owner's only, and a secret that both sides must know.",
    **names("service_kwargs services worker_services", "The dashboard is all that is served: dashboard_address=."),
    "silence_logs": "Nothing is logged that would have to be silenced.",
    "start": "A cluster starts at once; with asynchronous=True, by `async with` or `await`.",
    "worker_class": "Workers are of one kind: processes, or threads with processes=False.",
    "worker_dashboard_address": "There is one dashboard for all workers: dashboard_link.",
}

CLIENT = Comparison(
    "as_current asynchronous cancel close current dashboard_link futures_of gather get_dataset get_events get_executor "
    "get_versions list_datasets log_event map nbytes publish_dataset rebalance register_plugin replicate restart retry "
    "scatter submit subscribe_topic unpublish_dataset unregister_scheduler_plugin unregister_worker_plugin "
    "unsubscribe_topic upload_file wait_for_workers",
    {
        "Client()": "no loop=, security=, heartbeat_interval=, serializers=, deserializers=, "
        "extensions=, direct_to_workers= and connection_limit=: who gives one is told what to do instead; "
        "scheduler_file= is for dask's schedulers.",
        **names(
            "call_stack get_worker_logs has_what ncores nthreads processing scheduler_info who_has",
            'workers go by names, such as "worker-0".',
        ),
        "compute": "no actors=; further options are those of submit.",
        "get": "no asynchronous=, direct= and actors=; further options are those of submit.",
        "get_task_stream": "no bokeh_resources=: pages have in them all that they need.",
        "persist": "no actors=; further options are those of submit.",
        "profile": "no workers=, merge_workers=, server= and scheduler=: it is of the tasks on all workers.",
        "retire_workers": "no close_workers=: they end.",
        "run": "no nanny=: workers have no nannies; the workers go by their names.",
        "run_on_scheduler": "raises NotImplementedError, as the coordinator runs no code of users.",
        "shutdown": "closes the cluster only where the client has made it; else LocalCluster.close() does.",
    },
    {
        "amm": "Copies are made by replicate() only, and dropped with their futures.",
        "benchmark_hardware": "All workers are on this machine.",
        **names(
            "dump_cluster_state story", "taskloom.last_run() and taskloom.runs tell of each task what became of it."
        ),
        **names("forward_logging unforward_logging", "What tasks log is shown here by itself."),
        **names("get_metadata set_metadata", "A Variable holds what all are to know."),
        "get_scheduler_logs": "The coordinator has no log; get_worker_logs() gives those of the workers.",
        "loop": _LOOP,
        "normalize_collection": "compute() and persist() know what is persisted.",
        "register_worker_callbacks": "register_plugin(WorkerPlugin) does that.",
        "restart_workers": "restart() has new workers in place of all.",
        "start": "async with Client(asynchronous=True) starts it, and so does await.",
        "sync": _SYNC,
        "write_scheduler_file": "Pass cluster.scheduler_address on: Client(address) connects.",
    },
)

FUTURE = Comparison(
    "add_done_callback cancel cancelled client done exception key release result retry status traceback type",
    {"Future()": "no state=: a future is of a key that the cluster knows."},
    {
        "bind_client": "A future belongs to its client from the beginning.",
        "executor": "future.client is whose it is.",
        "substitute": "Futures are not parts of task expressions.",
    },
)

CLUSTER = Comparison(
    "close dashboard_link get_client get_logs scheduler_address",
    {
        "LocalCluster()": "no loop=, start=, host=, ip=, scheduler_port=, silence_logs=, worker_dashboard_address=, "
        "services=, worker_services=, service_kwargs=, security=, protocol=, blocked_handlers=, interface=, "
        "worker_class=, scheduler_kwargs= and scheduler_sync_interval=: who gives one is told what to do instead.",
        "adapt": "no Adaptive=, minimum_cores=, maximum_cores=, minimum_memory= and maximum_memory=: "
        "minimum= and maximum= count workers.",
        "asynchronous": "is there as an attribute of each cluster.",
        "name": "is there as an attribute of each cluster.",
        "scale": "no memory= and cores=: n counts workers.",
    },
    {
        "called_from_running_loop": "cluster.asynchronous tells whether it is asynchronous.",
        "from_name": "Client(address) connects to a cluster that is there.",
        "loop": _LOOP,
        **names("new_worker_spec start_worker", "All workers are alike: scale(n) makes more of them."),
        **names("observed plan requested", "cluster.workers has those that are there."),
        **names("scale_down scale_up", "scale(n) does both, and client.retire_workers(workers=...) names those to go."),
        "sync": _SYNC,
        "wait_for_workers": "client.wait_for_workers(n) waits.",
    },
)

AS_COMPLETED = Comparison(
    "add batches clear count has_ready is_empty next next_batch update",
    missing={"condition": "next() and has_ready() wait and look."},
)

_LEASED_MISSING = {
    "asynchronous": "It is what its client is.",
    "loop": _LOOP,
    "scheduler": "Its client speaks for it with the cluster.",
    "sync": _SYNC,
}

LOCK = Comparison(
    "acquire locked release",
    {"Lock()": "no scheduler_rpc= and loop=; and there are no lease timeouts: a holder that ends has it no more."},
    {
        **_LEASED_MISSING,
        "close": "A lock that nobody has takes no room.",
        "get_value": "locked() tells whether somebody has it.",
        "register": "A lock is there when it is first acquired.",
    },
)

SEMAPHORE = Comparison(
    "acquire close get_value register release",
    {"Semaphore()": "no scheduler_rpc= and loop=; and there are no lease timeouts: a holder that ends has none."},
    _LEASED_MISSING,
)

MULTI_LOCK = Comparison("acquire locked release")
EVENT = Comparison("clear client is_set set wait")
QUEUE = Comparison("client close get put qsize")
VARIABLE = Comparison("client delete get set")

ACTOR = Comparison(
    "client key",
    {"Actor()": "no worker=: client.submit(Class, actor=True) makes actors."},
    {"substitute": "Actors are not parts of task expressions."},
)

WORKER_PLUGIN = Comparison("idempotent setup teardown transition")

SCHEDULER_PLUGIN = Comparison(
    "close idempotent",
    {
        "start": "is given the client, in the place of a scheduler.",
        "add_client": "is given the client in the place of a scheduler, and called soon after.",
        "remove_client": "is given the client in the place of a scheduler, and called soon after.",
        "add_worker": "is given the client in the place of a scheduler, and called soon after.",
        "remove_worker": "stimulus_id= is not given, but reason= is.",
        "transition": "stimulus_id= is not given, but worker= is, and only tasks of the client's futures are told of.",
    },
    {
        "before_close": "close() is called when it ends.",
        "log_event": "Client.subscribe_topic hears of events.",
        "restart": "remove_worker() and add_worker() are called.",
        "update_graph": "taskloom.subscribe hears of runs, whose graph they have.",
        "valid_workers_downscaling": "client.retire_workers(workers=...) names those to go.",
    },
)

WORKER = Comparison(
    "address client data get_current_task",
    {
        "close": "no timeout=, executor_wait=, nanny= and reason=: it is for the worker itself, and "
        "client.retire_workers(workers=...) ends it."
    },
    {
        **names(
            "address_safe batched_send default_ip default_port get_connection_counters handle_comm handle_scheduler "
            "handle_stream host incoming_comms_active incoming_comms_open listen listen_address listener "
            "outgoing_comms_active outgoing_comms_open port send_to_worker service_ports services start_http_server "
            "start_services stop_services worker_address",
            "A worker has no address on a network: client.run() calls a function on it.",
        ),
        **names(
            "benchmark_disk benchmark_memory benchmark_network digest_metric get_metrics get_monitor_info "
            "get_startup_information heartbeat identity status versions",
            "client.scheduler_info() and client.get_versions() tell of workers.",
        ),
        **names("gather log_event run run_coroutine upload_file", "The client that get_client() gives does that."),
        **names("close_gracefully finished stop wait_until_closed", "client.retire_workers(workers=...) ends it."),
        **names("cycle_profile get_profile get_profile_metadata trigger_profile", "client.profile() tells of tasks."),
        **names("get_call_stack keys stateof", "client.call_stack(), has_what() and processing() tell what it does."),
        **names("get_logs logs", "client.get_worker_logs() has what it has printed, warned of and logged."),
        **names("plugin_add plugin_remove", "client.register_plugin() and unregister_worker_plugin() do that."),
        "set_resources": "LocalCluster(resources=...) says what each worker has.",
        **names("actor_attribute actor_execute", "The proxy that client.submit(Class, actor=True) gives does that."),
        "executor": "Tasks run in its own threads: client.get_executor() has some run.",
        **names(
            "echo execute find_missing gather_dep get_data get_story handle_stimulus handle_worker_status_change "
            "retry_busy_worker_later start start_periodic_callbacks start_unsafe update_data validate_state",
            "How a worker does its work is its own.",
        ),
    },
)
