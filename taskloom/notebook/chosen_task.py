"""Which task of which run a person means, or a sentence that says why it cannot be run again."""

from __future__ import annotations

from IPython.core.error import UsageError

from taskloom import bus
from taskloom.bus import Run
from taskloom.engines.base import how_to_replay
from taskloom.errors import WorkerDied
from taskloom.graph import Plan, nearest_keys, task_name
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
    run, plan = _run_of(request.run)
    number = _number_of(run, plan, request.key)
    deadly = run.failed_task if run.failure is not None and isinstance(run.failure.exception, WorkerDied) else None
    if deadly is not None and (deadly in ancestors(plan, number) or (deadly == number and _runs_here(request))):
        raise UsageError(_refusal(plan, deadly, number))
    return task_of(run, plan, number, request.fresh)


def _run_of(number: int | None) -> tuple[Run, Plan]:
    if not len(bus.runs):
        raise UsageError("There is no run yet: compute something first.")
    ended = [run for run in bus.runs if run.status != "running"]
    if number is None and not ended:
        raise UsageError(f"Run {bus.runs[-1].id} has not ended yet.")
    if number is None:
        run = next((run for run in reversed(ended) if run.graph.plan is not None), ended[-1])
    else:
        found = next((run for run in bus.runs if run.id == number), None)
        if found is None:
            raise UsageError(f"There is no run {number}. There are {', '.join(str(run.id) for run in bus.runs)}.")
        run = found
    if run.status == "running":
        raise UsageError(f"Run {run.id} has not ended yet.")
    if run.graph.plan is None:
        raise UsageError(f"Run {run.id} is over, and {_GONE}")
    return run, run.graph.plan


_GONE = (
    "its functions and inputs are gone: only those of the run that ended last are kept, for they may fill the memory. "
    "Run its cell again, and %replay before anything else is computed."
)


def _number_of(run: Run, plan: Plan, text: str) -> int:
    """The number of the task that `text` means: a key, the beginning of one, or nothing for the one that failed."""
    if not text:
        if run.failed_task is None:
            raise UsageError(_nothing_failed(run, plan))
        return run.failed_task
    key = key_text.find_key(text, plan.data)
    if key is not None:
        raise UsageError(f"{key_label(key)} is data that the graph holds, no task: there is nothing to run.")
    numbers = {key: number for number, key in enumerate(plan.keys)}
    key = key_text.find_key(text, numbers)
    if key is not None:
        return numbers[key]
    begun = [number for key, number in numbers.items() if key_text.begins(key, text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UsageError(f"{len(begun):,} tasks of run {run.id} begin like that: {_some(plan, begun)}.")
    raise UsageError(f"Run {run.id} has no task {one_line(text, 80)!r}.{_hint(run, plan, text)}")


def _hint(run: Run, plan: Plan, text: str) -> str:
    """The tasks whose keys or names are written almost like `text`."""
    near = nearest_keys(text, plan.keys) or [
        key for name in nearest_keys(text, run.names) for key in plan.keys if task_name(key) == name
    ]
    numbers = {key: number for number, key in enumerate(plan.keys)}
    return f" Did you mean {_some(plan, [numbers[key] for key in near])}?" if near else ""


def _some(plan: Plan, tasks: list[int]) -> str:
    more = f" and {len(tasks) - SHOWN:,} more" if len(tasks) > SHOWN else ""
    return ", ".join(key_label(plan.keys[task]) for task in tasks[:SHOWN]) + more


def _nothing_failed(run: Run, plan: Plan) -> str:
    text = f"Nothing failed in run {run.id}, which is {run.status}."
    if len(plan):
        example = key_text.key_text(plan.keys[-1])
        text += f" Any of its tasks can be run again: %replay KEY, such as  %replay {one_line(example, 80)}"
    failed = next((other for other in reversed(bus.runs) if other.failure is not None), None)
    if failed is not None and failed.failure is not None:
        text += f"\nRun {failed.id} failed at {key_label(failed.failure.key)}, but {_GONE}"
    return text


def _runs_here(request: Request) -> bool:
    return request.save is None and not request.apart


def _refusal(plan: Plan, deadly: int, wanted: int) -> str:
    text = f"Task {key_label(plan.keys[deadly])} ended its worker process, and would end this one with all it holds."
    if wanted != deadly:
        return f"{text} {key_label(plan.keys[wanted])} needs its result, and cannot be run."
    return (
        f"{text}\n{how_to_replay[-1].apart} runs it in a process of its own, and shows where that ends; "
        "%replay --save DIR writes a script that does."
    )
