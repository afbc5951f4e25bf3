"""What every engine has in common: names, options, and the frame around a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import nullcontext, suppress
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

from taskloom import config
from taskloom.bus.callback import Callback, Hooks, hooks_of, in_service
from taskloom.bus.event_bus import bus
from taskloom.bus.failure import Failure
from taskloom.bus.run import Run, Status
from taskloom.bus.run_graph import RunGraph
from taskloom.engines import worker
from taskloom.engines.cpus import usable_cpus
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.nesting import at_work
from taskloom.engines.observed import Observer
from taskloom.errors import ConfigError, TaskloomError, WorkerDied
from taskloom.graph import Graph, Plan, Task, checked_graph, compile_plan, did_you_mean, is_task, short_key

_known_options = {"callbacks"}  # of all engines
_OF_CLUSTERS = dict.fromkeys(("n_workers", "nworkers"), "num_workers")  # what they call it


MANY_NOTES = 10


class ReplayCommands(NamedTuple):
    """What to write to run a failed task again."""

    here: str
    apart: str = ""  # in a process of its own: where it would take this one with it


#: The last entry counts: a notebook adds its own.
how_to_replay = [ReplayCommands("taskloom.last_run().failure.replay()")]


class Engine(ABC):
    """Runs graphs. A subclass sets the class attributes and `run`; one line in `ENGINES` registers it.

    Attributes
    ----------
    name : str, as in ``scheduler="threads"``.
    names : tuple of str, all names it goes by.
    summary : str, one sentence for people who choose.
    cost : str, one sentence: what it takes per task, as measured in benchmarks/.
    advice : pairs of a kind of work and why this engine is right for it.
    options : frozenset of str, the options of `get` that it knows.
    settings : tuple of str, the keys of `config` that people who choose it may want to change.
    takes_futures : bool, whether `run` itself sees to futures among the constants of a plan.
    """

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]
    cost: ClassVar[str] = ""
    advice: ClassVar[tuple[tuple[str, str], ...]] = ()
    options: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[tuple[str, ...]] = ()
    takes_futures: ClassVar[bool] = False

    def unavailable(self) -> str:
        """Why it cannot be used on this machine, as a sentence; empty where it can."""
        return ""

    def get(self, dsk: Graph, keys: Any, *, callbacks: Any = None, **options: Any) -> Any:
        """Compute `keys` of the graph `dsk`: a key gives its value, a list a list, nested alike.

        Raises
        ------
        GraphError
            The graph cannot be run; nothing has.
        TypeError
            An option that no engine knows. What only other engines know is ignored.
        ConfigError
            The engine cannot take the value of an option.
        KeyboardInterrupt
            The run was interrupted or cancelled.
        Exception
            Whatever a task raised, as itself, with a note that names the task.
        """
        __tracebackhide__ = True  # frames that neither IPython nor pytest show
        check_options(options)
        workers_wanted(options.get("num_workers"))  # also where it will not be needed
        hooks = list(Callback.active) if callbacks is None else hooks_of(callbacks)
        if hooks:
            return self._get_observed(dsk, keys, hooks, options)
        return self._record(self._compiled(dsk, keys), options, None)

    def _compiled(self, dsk: Graph, keys: Any) -> Plan:
        plan = compile_plan(dsk, keys)
        if not self.takes_futures:
            bring_results(plan)
        return plan

    def __init_subclass__(cls) -> None:
        _known_options.update(cls.options)

    @abstractmethod
    def run(self, plan: Plan, run: Run, interrupt: Interrupt, observer: Observer | None, **options: Any) -> list[Any]:
        """Run a plan: write what happens to `run`, return the list of results, in which those requested are kept.

        `observer` is given when callbacks want to see each task.
        """

    def _get_observed(self, dsk: Graph, keys: Any, hooks: list[Hooks], options: dict[str, Any]) -> Any:
        __tracebackhide__ = True
        if not hasattr(dsk, "__taskloom_reader__"):  # else its tasks can be called, and it is nobody else's
            dsk = {key: Task(value) if is_task(value) else value for key, value in checked_graph(dsk).items()}
        state: dict[str, Any] = {}
        started: list[Hooks] = []
        errored = True
        served = in_service.get()
        try:
            in_service.set(served.union(hooks))
            for hook in hooks:
                if hook[0] is not None:
                    hook[0](dsk)
                started.append(hook)
            plan = self._compiled(dsk, keys)
            answer = self._record(plan, options, Observer(hooks, dsk, state))
            errored = False
            return answer
        finally:
            try:
                _finish_all(started, dsk, state, errored)
            finally:
                in_service.set(served)

    def _record(self, plan: Plan, options: dict[str, Any], observer: Observer | None) -> Any:
        """Run a plan within a run record."""
        __tracebackhide__ = True
        run = Run(RunGraph.of(plan), self.name)
        interrupt = Interrupt()
        outer = getattr(at_work, "run", None)
        status: Status = "cancelled"
        try:
            bus.started(run)
            if run.parent is None:
                bus.make_room()
            with outer.inside.holding(run) if outer is not None else nullcontext():
                answer = plan.answer(self.run(plan, run, interrupt, observer, **options))
            status = "finished"
            return answer
        except KeyboardInterrupt as error:
            if run.stopped and not error.args:
                error.args = run.cancelled().args
            raise
        except BaseException as error:
            status = "failed"
            if run.failure is not None and run.failure.exception is error:
                with suppress(Exception):  # an exception of the user's own making may refuse attributes
                    _explain(error, run, run.failure)
                    drop_own_frames(error)
            raise
        finally:
            try:
                interrupt.close()
                run.end(status)
                bus.finished(run)
            except KeyboardInterrupt:  # just now: a run is ended all the same
                run.end(status)
                if run in bus.active:
                    bus.finished(run)
                raise


def bring_results(plan: Plan, known: type | None = None) -> None:
    """Put results in the place of the futures among the constants of a plan, such as those of a persisted collection.

    Parameters
    ----------
    known : a kind of futures that stay.

    Raises
    ------
    TypeError
        One belongs to an asynchronous client, for which nobody can wait here.
    Exception
        What the task of one raised, or why its result is out of reach.
    """
    __tracebackhide__ = True
    kinds = {kind for kind in set(map(type, plan.constants)) if hasattr(kind, "__taskloom_input__")} - {known}
    if kinds:
        plan.constants = [_result_of(value) if type(value) in kinds else value for value in plan.constants]


def _result_of(future: Any) -> Any:
    __tracebackhide__ = True
    if future.client.asynchronous:
        raise TypeError(
            f"The future of {short_key(future.key)} belongs to an asynchronous client, and this engine cannot wait for "
            "it. Give its result, which to await gives, or compute what takes it through its own client."
        )
    return future.result()


def workers_wanted(num_workers: Any) -> int:
    """How many tasks may run at a time: as the call says, else the configuration, else a core each.

    Raises
    ------
    ConfigError
        It is no whole number above 0.
    """
    if num_workers.__class__ is int and num_workers > 0:
        return num_workers
    if num_workers is None:
        num_workers = config.get("num_workers")
    if num_workers is None:
        return usable_cpus()
    if isinstance(num_workers, bool) or not isinstance(num_workers, Integral) or num_workers < 1:
        raise ConfigError(f"num_workers={num_workers!r} cannot be used: it takes a whole number, 1 or more.")
    return int(num_workers)


def check_options(options: Mapping[str, Any], own: AbstractSet[str] = frozenset()) -> None:
    """Refuse what is an option of no engine, and none of those that a scheduler has of its own."""
    for option in options:
        if option not in _known_options and option not in own:
            raise _unknown_option(option, _known_options | own)


def _unknown_option(option: str, options: AbstractSet[str]) -> TypeError:
    # What `compute` takes may be misspelt too, and arrives here then.
    known = {*options, "scheduler", "optimize_graph", "traverse"}
    if option in known:
        hint = f" {option}= belongs to taskloom.compute; a graph runs on threads with taskloom.threaded.get."
    else:
        hint = did_you_mean(_OF_CLUSTERS.get(option, option), known)
    return TypeError(f"No engine has an option {option!r}.{hint} There are: {', '.join(sorted(options))}.")


def _finish_all(hooks: list[Hooks], dsk: Graph, state: dict[str, Any], errored: bool) -> None:
    """Call every finish hook, even if one of them raises."""
    if hooks:
        first, *others = hooks
        try:
            if first[4] is not None:
                first[4](dsk, state, errored)
        finally:
            _finish_all(others, dsk, state, errored)


def _explain(error: BaseException, run: Run, failure: Failure) -> None:
    """Add a note that says which task failed where, and how to run it again."""
    note = where_failed(run, failure)
    if run.parent is None and not worker.inside:  # else it is a part of the task that failed
        note += advice(error)
    add_note(error, note)


def where_failed(run: Run, failure: Failure) -> str:
    """Which task failed where, as a sentence."""
    name = run.workers[failure.worker].name if failure.worker < len(run.workers) else "?"
    return f"taskloom: task {short_key(failure.key)} failed in run {run.id} on engine {run.engine!r}, worker {name!r}."


def add_note(error: BaseException, note: str) -> None:
    """Add a note, unless there are many: an error may come up through runs inside runs, or again."""
    if len(getattr(error, "__notes__", ())) < MANY_NOTES:
        error.add_note(note)


def advice(error: BaseException, task: int | None = None) -> str:
    """How to run the task again that raised an error, as a further line, where that would tell anything.

    It is the failure of its run, or that of the task with this number.
    """
    commands = how_to_replay[-1] if task is None else ReplayCommands(f"taskloom.last_run().failures[{task}].replay()")
    if isinstance(error, WorkerDied) and commands.apart:
        return f"\nRun it again in a process of its own, and see where that ends: {commands.apart}"
    if isinstance(error, TaskloomError):
        return ""
    return f"\nRun it again in this thread, with the inputs it had: {commands.here}"


def drop_own_frames(error: BaseException) -> None:
    """Let the traceback lead from the call straight to the user's function, without the engine's frames between.

    Where there is no such function they stay, unless the error is of our own making: its message says it all.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "taskloom":
        trace = trace.tb_next
    if trace is not None or isinstance(error, TaskloomError):
        error.with_traceback(trace)
