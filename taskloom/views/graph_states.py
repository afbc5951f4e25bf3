"""How far the boxes of a diagram are, read from the run record while it grows."""

from __future__ import annotations

from typing import TypedDict

from taskloom.bus import Run
from taskloom.views.graph_boxes import Diagram, key_text, place_label
from taskloom.views.labels import byte_count, duration, error_label, name_label, one_line, short_time
from taskloom.views.pace import Pace

STATES = ("waiting", "ready", "running", "finished", "failed")
WAITING, READY, RUNNING, FINISHED, FAILED = range(len(STATES))
_LOOKED_AT = 50  # tasks of a group that are asked whether they are ready
_TIP_KEYS = 6  # argument keys that a tip names


class Progress(TypedDict):
    """One look at a run: per box a state and how many of its tasks are done."""

    states: list[int]
    done: list[int]


class BoxStates:
    """Follows a run for a diagram of its graph; each look costs what has happened since the last one, and the boxes.

    Parameters
    ----------
    run : Run
    diagram : Diagram
    """

    def __init__(self, run: Run, diagram: Diagram) -> None:
        self._run = run
        self._diagram = diagram
        self._seen = 0
        self._is_done = bytearray(len(diagram.box_of))
        self._counts = [0] * len(diagram.boxes)

    def look(self) -> Progress:
        """How far each box is now."""
        run, diagram = self._run, self._diagram
        done = run.done[self._seen :]
        self._seen += len(done)
        size = len(diagram.box_of)  # a task beyond that is in none of the boxes: the run has grown
        for task in done:
            if task < size:
                self._is_done[task] = 1
                self._counts[diagram.box_of[task]] += 1
        running = {diagram.box_of[task] for _, task, _ in run.running if task < size}
        over = run.status != "running"
        states = [self._state(box, box in running, over) for box in range(len(diagram.boxes))]
        for task in list(run.failures):
            if task < size:
                states[diagram.box_of[task]] = FAILED
        return {"states": states, "done": self._counts[:]}

    def _state(self, box: int, running: bool, over: bool) -> int:
        tasks, count = self._diagram.boxes[box].tasks, self._counts[box]
        if count >= len(tasks):
            return FINISHED
        if over:
            return WAITING
        if running or count:
            return RUNNING
        inputs, is_done = self._diagram.graph.dependencies, self._is_done
        return READY if any(all(is_done[other] for other in inputs[task]) for task in tasks[:_LOOKED_AT]) else WAITING


def not_run(diagram: Diagram) -> Progress:
    """The look of a graph that no run has touched."""
    return {"states": [WAITING] * len(diagram.boxes), "done": [0] * len(diagram.boxes)}


def caption(run: Run, pace: Pace | None = None) -> str:
    """One line on the run: how far it is, on which engine, and while it lasts when it may end."""
    n_done, n_tasks, status, elapsed = run.n_done, run.n_tasks, run.status, run.duration
    running = status == "running"
    estimate = pace.of(run) if pace and running else None
    parts = [
        f"{n_done:,}/{n_tasks:,} tasks",
        "stopped" if status == "cancelled" else status,
        duration(elapsed) if running else short_time(elapsed),
        estimate.left_text if estimate else "",
        name_label(run.engine),
    ]
    return " · ".join(filter(None, parts))


def failure_text(run: Run) -> str:
    """Which task failed and how, and how many did, or nothing."""
    if run.failure is None:
        return ""
    key, error = one_line(key_text(run.failure.key), 80), error_label(run.failure.exception)
    return f"{run.n_failed:,} tasks failed, first {key}: {error}" if run.n_failed > 1 else f"{key} failed: {error}"


def tip(diagram: Diagram, box: int, run: Run | None) -> list[str]:
    """What a person wants to know of a box, line by line."""
    tasks, graph = diagram.boxes[box].tasks, diagram.graph
    if len(tasks) > 1:
        lines = [diagram.boxes[box].key, f"{len(tasks):,} {diagram.layers.unit}{_counts(diagram, box, run)}"]
        lines += diagram.about(box)
        functions = list(dict.fromkeys(graph.functions[task] for task in tasks[:1000]))
        named = [name_label(function) for function in functions if function]
        return [*lines, f"function {', '.join(named[:3])}"] if named else lines
    (task,) = tasks
    lines = [diagram.boxes[box].key, *diagram.about(box)]
    if graph.functions[task]:
        lines.append(f"function {name_label(graph.functions[task])}")
    inputs = graph.dependencies[task]
    if inputs:
        shown = ", ".join(_input_text(diagram, other) for other in inputs[:_TIP_KEYS])
        more = f" and {len(inputs) - _TIP_KEYS:,} more" if len(inputs) > _TIP_KEYS else ""
        lines.append(f"takes {shown}{more}")
    return lines if run is None or run.graph is not graph else [*lines, *_measures(run, task)]


def _input_text(diagram: Diagram, task: int) -> str:
    """What a task that is an input is called; the keys of layers have long names, of which the box shows enough."""
    key = diagram.graph.keys[task]
    layer = diagram.layers.of(key)
    text = key_text(key) if layer is None else place_label(key) if isinstance(key, tuple) else layer.label
    return one_line(text, 40)


def _counts(diagram: Diagram, box: int, run: Run | None) -> str:
    """How many tasks of a group are in which state, as far as something has happened."""
    if run is None or run.graph is not diagram.graph:
        return ""
    tasks = set(diagram.boxes[box].tasks)
    failed = tasks.intersection(run.failures.copy())
    finished = tasks.intersection(run.done[:]) - failed
    running = {task for _, task, _ in run.running} & tasks - finished - failed
    rest = len(tasks) - len(failed) - len(finished) - len(running)
    other = "waiting" if run.status == "running" else "not run"
    counts = ((len(finished), "finished"), (len(running), "running"), (len(failed), "failed"), (rest, other))
    return f": {', '.join(f'{count:,} {state}' for count, state in counts if count)}"


def _measures(run: Run, task: int) -> list[str]:
    (row,) = run.tasks.rows([task])
    if not row["start"]:
        return _failed(run, task)
    lines = []
    if row["worker"] < len(run.workers):
        lines.append(f"worker {name_label(run.workers[row['worker']].name)}")
    failure = run.failures.get(task)
    if failure is None and task in run.unfinished:
        lines.append("cancelled while it ran" if run.status == "running" else "under way when the run ended")
    elif row["stop"]:
        lines.append(f"took {short_time(row['stop'] - row['start'])}")
    else:
        lines.append(f"running for {short_time(run.duration - row['start'])}")
    if row["nbytes"] == row["nbytes"]:  # not NaN: it was taken
        lines.append(f"result {byte_count(row['nbytes'])}")
    return [*lines, *_failed(run, task)]


def _failed(run: Run, task: int) -> list[str]:
    failure = run.failures.get(task)
    if failure is None:
        return []
    error = error_label(failure.exception)
    needs = failure.key != run.graph.keys[task]
    return [f"not run: {one_line(key_text(failure.key), 40)} failed: {error}" if needs else error]
