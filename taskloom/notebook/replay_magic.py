"""``%replay``: one task of the last run once more, alone, in this thread, where a debugger can look at it."""

from __future__ import annotations

import re
from bdb import BdbQuit
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom import bus
from taskloom.bus import Failure, Run
from taskloom.engines.base import ReplayCommands, how_to_replay
from taskloom.graph import Plan, nearest_keys
from taskloom.notebook import key_text
from taskloom.notebook.profiled_task import profile
from taskloom.notebook.replayed_task import ReplayedTask, task_of
from taskloom.notebook.saved_task import save_task
from taskloom.views.labels import key_label, one_line

COMMAND = "%replay"
OPTIONS = ("--step", "--profile", "--save DIR")

_COMMANDS = ReplayCommands(COMMAND, f"{COMMAND} --apart")
_PATH = r"""("[^"]+"|'[^']+'|\S+)"""
_OPTION = rf"--(step|profile|save(?:\s+|=){_PATH})"
_FIRST, _LAST = re.compile(rf"{_OPTION}(?:\s+|$)"), re.compile(rf"(?:^|\s){_OPTION}$")


@dataclass(frozen=True)
class Request:
    """What a line asks for."""

    key: str = ""
    step: bool = False
    profile: bool = False
    save: Path | None = None


def parse(line: str) -> Request:
    """Read the magic's line: options before or behind a key.

    Raises
    ------
    UsageError
        An option that there is not, or one without its folder; or several that exclude each other.

    Examples
    --------
    >>> parse("--step ('load', 3)")
    Request(key="('load', 3)", step=True, profile=False, save=None)
    """
    request = Request()
    line = line.strip()
    while found := _FIRST.match(line) or _LAST.search(line):
        option, path = found.groups()
        if path is not None:
            request = replace(request, save=Path(path.strip("\"'")).expanduser())
        else:
            request = replace(
                request, step=request.step or option == "step", profile=request.profile or option == "profile"
            )
        line = (line[: found.start()] + line[found.end() :]).strip()
    if line.startswith("--"):
        raise UsageError(f"%replay has no option {one_line(line, 80)!r}. There are: {', '.join(OPTIONS)}.")
    if (request.save is not None) + request.step + request.profile > 1:
        raise UsageError(f"%replay takes one of {', '.join(OPTIONS)} at a time.")
    return replace(request, key=line)


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
                                     inputs that were released are computed again first
            %replay --step [KEY]     stop at the first line of its function
            %replay --profile [KEY]  say where its time goes (pyinstrument if it is installed, else cProfile)
            %replay --save DIR [KEY] write a script and the pickled inputs that run it anywhere

        When the task raises, the debugger opens in the frame that raised: `p NAME` prints, `up` and `down` move,
        `q` leaves. If it succeeds, its value is the cell's result.

        ``%%replay`` takes the debugger's commands from the cell, one a line, and needs nobody to type them.
        """
        request = parse(line)
        run, plan = _last_run()
        task = self._task(run, plan, request.key)
        if request.save is not None:
            return _save(task, request.save)
        if request.profile:
            return profile(task)
        return self._run(task, request.step, [command for command in (cell or "").splitlines() if command.strip()])

    def _task(self, run: Run, plan: Plan, text: str) -> ReplayedTask:
        if not text:
            return _failed_task(run)
        key = key_text.find_key(text, plan.data)
        if key is not None:
            raise UsageError(f"{key_label(key)} is data that the graph holds, no task: there is nothing to run.")
        numbers = {key: number for number, key in enumerate(plan.keys)}
        key = key_text.find_key(text, numbers)
        if key is None:
            near = nearest_keys(text, plan.keys)
            hint = f" The nearest is {key_label(near[0])}." if near else ""
            raise UsageError(f"Run {run.id} has no task {one_line(text, 80)!r}.{hint}")
        return task_of(run, plan, numbers[key])

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
        print(f"Running {key_label(task.key)} of run {task.run.id} again, in this thread.")
        try:
            value = debugger.step_into(codes, task) if codes else task()
        except BdbQuit:
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._examine(task.without_own_frames(error))
            return None
        failure = task.run.failure
        if failure is not None and failure.key == task.key:
            print(f"Not reproducible: {key_label(task.key)} succeeds here and now. Its first exception stands.")
        return value

    def _examine(self, error: BaseException) -> None:
        """Show an exception as if the cell had raised it, and open the debugger."""
        self._shell.showtraceback((type(error), error, error.__traceback__), tb_offset=0)
        if not self._shell.call_pdb:  # else it has been open already
            self._shell.debugger(force=True)


def _last_run() -> tuple[Run, Plan]:
    run = bus.last_run()
    if run is None:
        raise UsageError("There is no run yet: compute something first.")
    if run.status == "running":
        raise UsageError(f"Run {run.id} has not ended yet.")
    if run.graph.plan is None:
        raise UsageError(f"The functions and inputs of run {run.id} are no longer kept: another run has ended since.")
    return run, run.graph.plan


def _failed_task(run: Run) -> ReplayedTask:
    failure: Failure | None = run.failure
    if failure is None:
        raise UsageError(
            f"Nothing failed in run {run.id}, which is {run.status}. To run any of its tasks again: %replay KEY."
        )
    if failure.function is None:
        raise UsageError(
            f"The inputs of {key_label(failure.key)} are not kept. To compute them again: "
            f"%replay {key_text.key_text(failure.key):.200}"
        )
    return ReplayedTask(run, failure.key, failure.function, failure.inputs)


def _save(task: ReplayedTask, folder: Path) -> None:
    try:
        files = save_task(task, folder)
    except FileExistsError as error:
        raise UsageError(f"{folder} exists already, and nothing is written over: name another folder.") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"The task was not saved. {error}") from error
    print("Written: " + ", ".join(map(str, files)))
    print(f"It runs with:  python {files[0]}")


def _complete(_shell: InteractiveShell, event: Any) -> list[str]:
    """Keys of the last run, each without the part of it that stands before the word to complete."""
    run = bus.last_run()
    typed = event.text_until_cursor.partition(COMMAND[1:])[2].lstrip()
    while found := _FIRST.match(typed):
        typed = typed[found.end() :]
    if typed.startswith("-") or run is None:
        return [option.partition(" ")[0] for option in OPTIONS]
    before = len(typed) - len(event.symbol)
    return [text[max(before, 0) :] for text in key_text.completions(typed, run.graph.keys)]
