"""``%replay``: one task of the last run once more, alone, in this thread, where a debugger can look at it."""

from __future__ import annotations

import shlex
import sys
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.engines.base import ReplayCommands, how_to_replay
from taskloom.errors import TaskloomError
from taskloom.notebook import key_text
from taskloom.notebook.apart import run_apart
from taskloom.notebook.chosen_task import chosen_task
from taskloom.notebook.profiled_task import profile
from taskloom.notebook.replay_request import OPTIONS, parse, without_options
from taskloom.notebook.replayed_task import ReplayedTask, without_own_frames
from taskloom.notebook.saved_task import save_task
from taskloom.views.labels import key_label

COMMAND = "%replay"
_COMMANDS = ReplayCommands(COMMAND, f"{COMMAND} --apart")


class ReplayMagic:
    """The magic in one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.replay, "line_cell", "replay")
        set_hook: Callable[..., None] = self._shell.set_hook
        set_hook("complete_command", _complete, str_key=COMMAND)
        how_to_replay.append(_COMMANDS)

    def close(self) -> None:
        """Take the magic away."""
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("replay", None)
        self._shell.strdispatchers["complete_command"].strs.pop(COMMAND, None)
        how_to_replay.remove(_COMMANDS)

    def replay(self, line: str, cell: str | None = None) -> Any:
        """Run one task of the last run once more, alone, in this thread, under the debugger.

        ::

            %replay                  the task that failed, with the inputs it had
            %replay KEY              any task of the last run, such as  %replay load-3  or  %replay ('load', 3);
                                     the beginning of a key will do where only one begins like that;
                                     inputs that were released are computed again first
            %replay --fresh [KEY]    compute the inputs again in any case, as the failed task may have changed its
                                     own in place (what the graph itself holds, such as a list, is not made again)
            %replay --step [KEY]     stop at the first line of its function
            %replay --profile [KEY]  say where its time goes (pyinstrument if it is installed, else cProfile)
            %replay --apart [KEY]    run it in a process of its own, and show where that ends: for a task that
                                     killed its worker, and would end this kernel
            %replay --save DIR [KEY] write a script and the pickled inputs that run it anywhere
            %replay --run ID ...     take the run with this number: the one that ended last has its inputs until
                                     another begins, those of a dask cluster as long as you keep what they gave

        When the task raises, the debugger opens in the frame that raised: `p NAME` prints, `up` and `down` move,
        `q` leaves. If it succeeds, its value is the cell's result.

        ``%%replay`` takes the debugger's commands from the cell, one a line, and needs nobody to type them.
        """
        __tracebackhide__ = True
        request = parse(line)
        task = chosen_task(request)
        if request.save is not None:
            return _save(task, request.save)
        if request.apart:
            return _run_apart(task)
        if request.profile:
            return profile(task)
        return self._run(task, request.step, [command for command in (cell or "").splitlines() if command.strip()])

    def _run(self, task: ReplayedTask, step: bool, script: list[str]) -> Any:
        __tracebackhide__ = True
        tracebacks = self._shell.InteractiveTB
        debugger = tracebacks.pdb = tracebacks.debugger_cls()  # a new one: the last may have been left in mid-step
        if script:
            debugger.follow(script)
        codes = task.codes() if step else frozenset()
        if step and not codes:
            print(
                f"The function of {key_label(task.key)} is not written in Python: there are no lines to step through."
            )
        print(
            f"Running {key_label(task.key)} of run {task.run.id} again, in this thread. {task.about_inputs()}".rstrip()
        )
        try:
            value = debugger.step_into(codes, task) if codes else task()
        except BdbQuit:
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._examine(without_own_frames(error))
            return None
        finally:
            tracebacks.pdb = None  # what is left of the script is not for the next prompt
        if task.number in task.run.failures:
            print(_about_success(task))
        return value

    def _examine(self, error: BaseException) -> None:
        """Show an exception as if the cell had raised it, and open the debugger."""
        self._shell.showtraceback((type(error), error, error.__traceback__), tb_offset=0)
        if not self._shell.call_pdb:  # else it has been open already
            self._shell.debugger(force=True)


def _about_success(task: ReplayedTask) -> str:
    if isinstance(task.run.failures[task.number].exception, TaskloomError):
        return f"{key_label(task.key)} succeeds in this process, where its result need not travel. The error stands."
    return f"Not reproducible: {key_label(task.key)} succeeds here and now. Its first exception stands."


def _save(task: ReplayedTask, folder: Path) -> None:
    try:
        files = save_task(task, folder)
    except FileExistsError as error:
        raise UsageError(f"{folder} exists already, and nothing is written over: name another folder.") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"The task was not saved. {error}") from error
    print("Written: " + ", ".join(map(str, files)))
    print(f"It runs with:  {shlex.join([sys.executable, str(files[0])])}")


def _run_apart(task: ReplayedTask) -> None:
    try:
        run_apart(task)
    except ValueError as error:
        raise UsageError(f"The task cannot go to another process. {error}") from error


def _complete(_shell: InteractiveShell, event: Any) -> list[str]:
    """Keys of the last run, each without the part of it that stands before the word to complete."""
    run = bus.last_run()
    typed = without_options(event.text_until_cursor.partition(COMMAND[1:])[2].lstrip())
    if typed.startswith("-") or run is None:
        return [option.partition(" ")[0] for option in OPTIONS]
    before = len(typed) - len(event.symbol)
    return [text[max(before, 0) :] for text in key_text.completions(typed, run.graph.keys)]
