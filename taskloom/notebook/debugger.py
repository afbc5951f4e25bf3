"""IPython's debugger, taught about tasks: what ``%pdb on``, ``%debug`` and ``%replay`` open."""

from __future__ import annotations

import os
import sys
from traceback import walk_tb
from types import CodeType, FrameType, TracebackType
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.bus import Failure, Run
from taskloom.engines.base import where_failed
from taskloom.errors import TaskloomError
from taskloom.notebook.library_frames import hide_library_frames
from taskloom.notebook.replayed_task import ReplayedTask, task_of, without_own_frames
from taskloom.views.labels import error_label, key_label

NO_PROMPT = (
    "No prompt: this front end takes no input (nbconvert and nbclient do not). "
    "%%replay runs the debugger's commands that stand below it in its cell."
)

_Pdb: Any = object  # stands for the one of IPython's debuggers that the shell uses, see `task_debugger`


class TaskDebugger(_Pdb):  # type: ignore[misc]
    """What IPython's debugger does differently where tasks are concerned.

    It opens in the frame of the user's function and not in an engine's, runs a task that failed in another process
    again in this one, lets live views stand still while it asks, and takes a script in place of a person.
    """

    _awaited: frozenset[CodeType] = frozenset()
    _scripted = False

    def follow(self, script: list[str]) -> None:
        """Take these commands, and quit behind them, instead of asking."""
        self.cmdqueue = [*script, "quit"]
        self._scripted = True

    def step_into(self, codes: frozenset[CodeType], task: ReplayedTask) -> Any:
        """Run a task and stop at the first line of the first function that has one of these codes."""
        __tracebackhide__ = True
        self.reset()
        self._awaited = codes
        before = sys.gettrace()
        sys.settrace(self.trace_dispatch)
        try:
            return task()
        finally:
            sys.settrace(before)

    def interaction(self, frame: FrameType | None, tb_or_exc: Any) -> None:
        """Ask for commands until there are enough."""
        error = tb_or_exc if isinstance(tb_or_exc, BaseException) else getattr(sys, "last_value", None)
        if frame is None and self.shell.call_pdb and _stopped_by_hand(error):
            return  # who stops a run wants no prompt; %debug asks for one
        elsewhere = None if frame is not None else _failed_elsewhere(error)
        if elsewhere is not None:
            again = _fail_again(*elsewhere, error)
            if again is None:
                return
            tb_or_exc = again if tb_or_exc is error else again.__traceback__
        try:
            with bus.hold_updates():
                super().interaction(frame, tb_or_exc)
        except StdinNotImplementedError:
            self.forget()
            self.message(NO_PROMPT)
            if frame is not None:
                self.set_continue()

    def get_stack(self, f: FrameType | None, t: TracebackType | None) -> tuple[list[tuple[FrameType, int]], int]:
        """The frames, and the number of the one to open in: the newest that is not hidden."""
        stack, newest = super().get_stack(f, t)
        if t is not None:
            hide_library_frames([frame for frame, _ in stack])
            shown = [number for number, hidden in enumerate(self.hidden_frames(stack)) if not hidden]
            newest = max(shown, default=newest)
        return stack, newest

    def dispatch_call(self, frame: FrameType, arg: Any) -> Any:
        """Trace nothing until the awaited function is called."""
        if not self._awaited:
            return super().dispatch_call(frame, arg)
        if frame.f_code not in self._awaited:
            return None
        self._awaited = frozenset()
        self.botframe = frame.f_back
        return self.trace_dispatch

    def stop_here(self, frame: FrameType) -> bool:
        """Do not step out of the task, into what called it."""
        return frame is not self.botframe and bool(super().stop_here(frame))

    def precmd(self, line: str) -> str:
        """Show the commands of a script as if a person had typed them."""
        if self._scripted:
            self.message(f"{self.prompt}{line}")
        return str(super().precmd(line))


def task_debugger(base: type[Any]) -> type[TaskDebugger]:
    """The shell's own kind of debugger, taught about tasks."""
    return type("TaskDebugger", (TaskDebugger, base), {})


def _stopped_by_hand(error: BaseException | None) -> bool:
    """Whether a person has interrupted a run or a replay."""
    frames = walk_tb(error.__traceback__) if isinstance(error, KeyboardInterrupt) else ()
    return any(str(frame.f_globals.get("__name__")).startswith("taskloom.") for frame, _ in frames)


def _failed_elsewhere(error: BaseException | None) -> tuple[Run, int] | None:
    """The run and the task that raised `error` in another process, if the task can be run again in this one."""
    if error is None or isinstance(error, TaskloomError):  # ours came from no frame of the user's
        return None
    for run in reversed(bus.runs):
        for task, failure in list(run.failures.items()) if run.keeps_inputs else ():
            if failure.key == run.graph.keys[task] and _is_of(error, run, failure):
                if failure.ended_worker:  # it would end this process, too
                    return None
                known = failure.worker < len(run.workers)
                return (run, task) if known and run.workers[failure.worker].pid != os.getpid() else None
    return None


def _is_of(error: BaseException, run: Run, failure: Failure) -> bool:
    """Whether a failure has raised this. Each who asks for a future gets an exception of their own, with a note."""
    if failure.recall is None:
        return failure.exception is error
    return any(note.startswith(where_failed(run, failure)) for note in getattr(error, "__notes__", ()))


def _fail_again(run: Run, number: int, first: BaseException | None) -> BaseException | None:
    """Run the failed task again, in this process; the exception that it raises now, with frames to look into."""
    key = key_label(run.graph.keys[number])
    try:
        plan = run.plan_for(number)
    except ValueError as error:
        print(f"No debugger: task {key} ran in another process. {error}")
        return None
    print(f"Task {key} ran in another process: here it runs again, alone, with the inputs it had.")
    try:
        task = task_of(run, plan, number)
        task()
    except KeyboardInterrupt:
        print("Interrupted: no debugger.")
        return None
    except BaseException as error:
        if type(error) is not type(first):
            print(f"It raises something else here: {error_label(error)}")
        return without_own_frames(error)
    print(f"Not reproducible: {key} succeeds here and now. The exception above stands. {task.about_inputs()}".rstrip())
    return None


class Debugger:
    """Makes a shell use `TaskDebugger`, until `close`."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._tracebacks: Any = shell.InteractiveTB
        self._before = self._tracebacks.debugger_cls
        self._use(task_debugger(self._before))

    def close(self) -> None:
        """Give the shell its own debugger back."""
        self._use(self._before)

    def _use(self, debugger: type[Any]) -> None:
        self._tracebacks.debugger_cls = debugger
        self._tracebacks.pdb = None  # the one made before, if any
