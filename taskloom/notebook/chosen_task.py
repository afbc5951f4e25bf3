"""Which task of which run a person means, or a sentence that says why it cannot be run again."""

from __future__ import annotations

from IPython.core.error import UsageError

from taskloom import bus
from taskloom.bus import GrowingRun, Run
from taskloom.engines.base import how_to_replay
from taskloom.graph import nearest_keys, task_name
from taskloom.notebook import key_text
from taskloom.notebook.replay_request import Request
from taskloom.notebook.replayed_task import ReplayedTask, ancestors, task_of
from taskloom.views.labels import key_label, one_line

SHOWN = 3  # keys of many


def chosen_task(request: Request) -> ReplayedTask:
    """The task to run again, its inputs computed again unless the run still has them.

    Raises
    ------
    UsageError
        There is no such run or task, its functions and inputs are not kept, or it would end this process.
    """
    __tracebackhide__ = True
    run = _run_of(request)
    number = _number_of(run, request.key)
    try:
        plan = run.plan_for(number, request.fresh)
    except ValueError as error:
        raise UsageError(f"{key_label(run.graph.keys[number])} cannot be run again. {error}") from error
    for task in (*ancestors(plan, number), *([number] if _runs_here(request) else [])):
        if _is_deadly(run, task):
            raise UsageError(_refusal(run, task, number))
    return task_of(run, plan, number, request.fresh)


def _is_deadly(run: Run, task: int) -> bool:
    """Whether a task has ended its worker; others may have failed because of it."""
    failure = run.failures.get(task)
    return failure is not None and failure.ended_worker and failure.key == run.graph.keys[task]


def _run_of(request: Request) -> Run:
    number = request.run
    if not len(bus.runs):
        raise UsageError("There is no run yet: compute something first.")
    if number is None:
        usable = [run for run in bus.runs if _is_usable(run)]
        ended = [run for run in bus.runs if run.status != "running"]
        if not (usable or ended):
            raise UsageError(f"Run {bus.runs[-1].id} has not ended yet.")
        failed = [] if request.key else [run for run in usable if run.failure is not None]
        run = (failed or usable or ended)[-1]
    else:
        found = next((run for run in bus.runs if run.id == number), None)
        if found is None:
            raise UsageError(f"There is no run {number}. There are {', '.join(str(run.id) for run in bus.runs)}.")
        run = found
    if not (run.keeps_inputs or run.can_recall):
        raise UsageError(f"Run {run.id} is over, and {_GONE}")
    if not _is_at_hand(run):
        raise UsageError(f"Run {run.id} has not ended yet.")
    return run


def _is_usable(run: Run) -> bool:
    """Whether tasks of a run can be run again; futures go on, and may be asked for meanwhile."""
    return run.keeps_inputs and _is_at_hand(run)


def _is_at_hand(run: Run) -> bool:
    return run.status != "running" or isinstance(run, GrowingRun)


_GONE = (
    "its functions and inputs are gone: they are kept only until another run begins, for they may fill the memory. "
    "Run its cell again, and %replay before anything else is computed."
)


def _number_of(run: Run, text: str) -> int:
    """The number of the task that `text` means: a key, the beginning of one, or nothing for the one that failed."""
    if not text:
        if run.failed_task is None:
            raise UsageError(_nothing_failed(run))
        return run.failed_task
    key = key_text.find_key(text, run.graph.plan.data) if run.graph.plan is not None else None
    if key is not None:
        raise UsageError(f"{key_label(key)} is data that the graph holds, no task: there is nothing to run.")
    numbers = {key: number for number, key in enumerate(run.graph.keys)}
    key = key_text.find_key(text, numbers)
    if key is not None:
        return numbers[key]
    begun = [number for key, number in numbers.items() if key_text.begins(key, text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UsageError(f"{len(begun):,} tasks of run {run.id} begin like that: {_some(run, begun)}.")
    raise UsageError(f"Run {run.id} has no task {one_line(text, 80)!r}.{_hint(run, text)}")


def _hint(run: Run, text: str) -> str:
    """The tasks whose keys or names are written almost like `text`, else the first that there are."""
    keys = run.graph.keys
    near = nearest_keys(text, keys) or [
        key for name in nearest_keys(text, run.names) for key in keys if task_name(key) == name
    ]
    numbers = {key: number for number, key in enumerate(keys)}
    if near:
        return f" Did you mean {_some(run, [numbers[key] for key in near])}?"
    return f" Its tasks are {_some(run, list(range(len(keys))))}." if len(keys) else " It has no tasks."


def _some(run: Run, tasks: list[int]) -> str:
    more = f" and {len(tasks) - SHOWN:,} more" if len(tasks) > SHOWN else ""
    return ", ".join(key_label(run.graph.keys[task]) for task in tasks[:SHOWN]) + more


def _nothing_failed(run: Run) -> str:
    text = f"Nothing failed in run {run.id}, which is {run.status}."
    if run.n_tasks:
        example = key_text.key_text(run.graph.keys[-1])
        text += f" Any of its tasks can be run again: %replay KEY, such as  %replay {one_line(example, 80)}"
    failed = next((other for other in reversed(bus.runs) if other.failure is not None), None)
    if failed is not None and failed.failure is not None:
        text += f"\nRun {failed.id} failed at {key_label(failed.failure.key)}"
        if failed.can_recall:
            text += f", which runs again as long as its cluster has it:  %replay --run {failed.id}"
        else:
            text += f", but {_GONE}"
    return text


def _runs_here(request: Request) -> bool:
    return request.save is None and not request.apart


def _refusal(run: Run, deadly: int, wanted: int) -> str:
    label = key_label(run.graph.keys[deadly])
    text = f"Task {label} ended its worker process, and would end this one with all it holds."
    if wanted != deadly:
        return f"{text} {key_label(run.graph.keys[wanted])} needs its result, and cannot be run."
    return (
        f"{text}\n{how_to_replay[-1].apart} runs it in a process of its own, and shows where that ends; "
        "%replay --save DIR writes a script that does."
    )
