"""The progress bar, whatever draws it: from a run to a plain state, and from a state to text or static HTML.

Nothing here knows Jupyter. The notebook's live bar, its saved picture and the terminal's bar draw the same state, so
that they say the same thing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from html import escape
from typing import TYPE_CHECKING, TypedDict

from taskloom.graph import task_name
from taskloom.views.labels import duration, error_label, key_label, name_label
from taskloom.views.pace import Pace
from taskloom.views.palette import FAILED_COLOR, OTHER_COLOR, colors_of, name_colors
from taskloom.views.sampling import sample

if TYPE_CHECKING:
    from taskloom.bus import Run

TOP_NAMES = 5  # names with a colour of their own; all others share one
EXACT_TASKS = 20_000  # larger runs count names on a sample: a bar must not slow the run it shows
SAMPLED_TASKS = 500  # keys looked at in such a run before its first reading
SAMPLED_DONE = 250  # keys looked at per reading in such a run
TEXT_BAR = 24  # characters


class NameCount(TypedDict):
    """Tasks of one name, how many are done, and the name's colour (``"#rrggbb"``)."""

    name: str
    color: str
    total: int
    done: int


class NestedCount(TypedDict):
    """Runs that this run's tasks started, and the tasks of those runs together."""

    runs: int
    total: int
    done: int


class ProgressState(TypedDict):
    """All that a progress bar shows: plain JSON, texts short, of one line and not yet escaped. Times are seconds.

    The end is to be expected between `remaining_low` and `remaining_high` seconds from now.
    """

    status: str
    engine: str
    total: int
    done: int
    failed: int
    elapsed: float
    remaining: float | None
    remaining_low: float | None
    remaining_high: float | None
    names: list[NameCount]
    exact: bool  # whether the counts in `names` are exact or estimated from a sample
    count_text: str
    time_text: str
    note_text: str
    failure_text: str


class Progress:
    """Follows one run; each reading costs only what happened since the one before.

    Parameters
    ----------
    run : Run
        The run to follow, running or not.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> Progress(taskloom.last_run()).state()["count_text"]
    '1/1'
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._exact = run.n_tasks <= EXACT_TASKS
        self._names: list[str] = []  # by task number; empty where not exact
        self._rows: dict[str, NameCount] = {}
        self._named = 0  # tasks that `_rows` count: a run of futures grows
        self._hidden_names = 0
        self._done: defaultdict[str, float] = defaultdict(float)
        self._done.update({name: count for name, (count, _) in run.dropped.items()})  # rows a large record gave up
        self._cursor = 0
        self._pace = Pace()

    def state(self, nested: NestedCount | None = None) -> ProgressState:
        """Read the run.

        Parameters
        ----------
        nested : NestedCount, optional
            What the runs inside this one amount to so far.

        Returns
        -------
        ProgressState
        """
        run = self._run
        status, total, done, elapsed = run.status, run.n_tasks, run.n_done, run.duration
        estimate = self._pace.of(run) if status == "running" else None
        running = len(run.running) if status == "running" else 0
        return ProgressState(
            status=status,
            engine=run.engine,
            total=total,
            done=done,
            failed=run.n_failed,
            elapsed=elapsed,
            remaining=estimate and estimate.expected,
            remaining_low=estimate and estimate.low,
            remaining_high=estimate and estimate.high,
            names=self._count_names(done, total),
            exact=self._exact,
            count_text=f"{done}/{total}",
            time_text=" · ".join(filter(None, [duration(elapsed), estimate.left_text if estimate else ""])),
            note_text=_note(run, running, estimate.rate_text if estimate else "", nested),
            failure_text=_failure(run),
        )

    def _count_names(self, done: int, total: int) -> list[NameCount]:
        """Count by name: the most frequent names, then all others as one row."""
        if self._named < len(self._run.graph):
            self._choose_names()
        self._count_done()
        for name, row in self._rows.items():
            row["done"] = row["total"] if done == total else min(round(self._done[name]), row["total"])
        rows = [row.copy() for row in self._rows.values()]
        if self._hidden_names:
            other_total = max(0, total - sum(row["total"] for row in rows))
            other_done = min(other_total, max(0, done - sum(row["done"] for row in rows)))
            other = f"{self._hidden_names} more"
            rows.append(NameCount(name=other, color=OTHER_COLOR, total=other_total, done=other_done))
        return rows

    def _choose_names(self) -> None:
        self._named = len(self._run.graph)
        totals = self._count_totals()
        self._rows = {}
        shown = len(totals) if len(totals) <= TOP_NAMES + 1 else TOP_NAMES
        top = dict(Counter(totals).most_common(shown))
        colors = name_colors([*colors_of(self._run.graph), *top])
        self._hidden_names = len(totals) - shown
        for name in filter(top.__contains__, totals):  # in the order of the graph
            self._rows[name] = NameCount(name=name_label(name), color=colors[name], total=totals[name], done=0)

    def _count_totals(self) -> dict[str, int]:
        run = self._run
        keys, size = run.graph.keys, self._named
        self._exact = self._exact and size <= EXACT_TASKS
        if self._exact:
            self._names += map(task_name, keys[len(self._names) : size])
        if run.dropped:
            return run.names
        if self._exact:
            return Counter(self._names)
        counts = Counter(task_name(keys[number]) for number in sample(size, SAMPLED_TASKS))
        return {name: round(count * size / SAMPLED_TASKS) for name, count in counts.items()}

    def _count_done(self) -> None:
        fresh = self._run.done[self._cursor :]
        if self._exact and fresh and max(fresh) >= self._named:  # submitted and done since the names were looked at
            fresh = fresh[:0]
        self._cursor += len(fresh)
        if self._exact:
            for name, count in Counter(map(self._names.__getitem__, fresh)).items():
                self._done[name] += count
            return
        keys = self._run.graph.keys
        chosen = sample(len(fresh), SAMPLED_DONE)
        for index in chosen:
            self._done[task_name(keys[fresh[index]])] += len(fresh) / len(chosen)


def progress_state(run: Run) -> ProgressState:
    """Say how far a run is: the state that `text_line` and `static_html` draw.

    Parameters
    ----------
    run : Run
        A run, running or not. To look at the same run again and again, keep a `Progress`.

    Returns
    -------
    ProgressState
        A plain dictionary of strings, numbers and lists.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1), "b": (abs, "a")}, "b")
    1
    >>> progress_state(taskloom.last_run())["count_text"]
    '2/2'
    """
    return Progress(run).state()


def text_line(state: ProgressState, width: int = 120) -> str:
    """Draw a bar as one line of text.

    Parameters
    ----------
    state : ProgressState
        From `progress_state`.
    width : int, optional
        Greatest length in characters.

    Returns
    -------
    str
        One printable line without a line end.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> text_line(progress_state(taskloom.last_run())).startswith("[########################] 1/1  ")
    True
    """
    full = filled(state, TEXT_BAR)
    parts = [
        f"[{'#' * full}{'.' * (TEXT_BAR - full)}] {state['count_text']}",
        state["time_text"],
        state["failure_text"],
        state["note_text"],
        *(f"{row['name']} {_figure(row, state)}" for row in state["names"]),
    ]
    line = "  ".join(part for part in parts if part)
    return line if len(line) <= width else line[: width - 1] + "…"


def filled(state: ProgressState, length: int) -> int:
    """How much of a bar of this length is full. Without tasks it is when the run has finished."""
    if state["total"]:
        return length * state["done"] // state["total"]
    return length if state["status"] == "finished" else 0


def static_html(state: ProgressState) -> str:
    """Draw a bar as a line of HTML that needs neither script nor style sheet, and is safe whatever the keys are.

    Parameters
    ----------
    state : ProgressState
        From `progress_state`.

    Returns
    -------
    str
        A ``div`` of class ``taskloom-progress``. Its styles are inline and plain enough to survive the sanitizers of
        notebook viewers, and its text says everything where they do not.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> "1/1" in static_html(progress_state(taskloom.last_run()))
    True
    """
    failure = state["failure_text"]
    running = state["status"] == "running"
    mark = {"finished": "✓ ", "failed": "✗ ", "cancelled": "■ "}.get(state["status"], "")
    parts = [
        f"<span style='{_BAR}'>{_segments(state)}</span>",
        f"<b style='{_WHOLE}{_GAP}{_RED if failure else ''}'>{mark}{state['count_text']}</b>",
        _text(duration(state["elapsed"]) if running else state["time_text"], _WHOLE),
        _text(state["engine"], _WHOLE + _MUTED),
        _text(failure, _RED),
        _text(_SAVED_TOO_EARLY if running else state["note_text"], _MUTED),
    ]
    if not failure:
        parts += [_legend(row, state) for row in state["names"]]
    title = escape(text_line(state, width=400))
    return f"<div class='taskloom-progress' style='{_LINE}' title='{title}'>{' '.join(filter(None, parts))}</div>"


_SAVED_TOO_EARLY = "was still running when this was saved: taskloom.last_run() says how it ended"
_LINE = "font-size:13px;line-height:20px;max-height:60px;overflow:hidden;overflow-wrap:anywhere;"  # three rows at most
_GAP = "margin-right:12px;"
_MUTED = "opacity:0.7;"
_WHOLE = "white-space:nowrap;"  # a narrow cell breaks the line in front of it
_RED = f"color:{FAILED_COLOR};color:color-mix(in srgb,{FAILED_COLOR} 85%,currentcolor);"  # reads in light and dark
_BAR = (
    "display:inline-block;width:120px;height:8px;margin-right:12px;border-radius:4px;overflow:hidden;"
    "vertical-align:middle;background-color:rgba(128,128,128,0.25);font-size:0;line-height:0;"
)
_SEGMENT = "display:inline-block;height:8px;vertical-align:top;"
_DOT = "display:inline-block;width:8px;height:8px;border-radius:4px;margin-right:5px;"


def _text(text: str, style: str = "") -> str:
    return f"<span style='{_GAP}{style}'>{escape(text)}</span>" if text else ""


def _segments(state: ProgressState) -> str:
    parts = [(row["color"], row["done"]) for row in state["names"]] + [(FAILED_COLOR, state["failed"])]
    total = state["total"] or 1
    return "".join(
        f"<span style='{_SEGMENT}width:{100 * count / total:.2f}%;background-color:{color};'></span>"
        for color, count in parts
        if count
    )


def _legend(row: NameCount, state: ProgressState) -> str:
    dot = f"<span style='{_DOT}background-color:{row['color']};'></span>"
    label = f"<span style='{_MUTED}'>{escape(row['name'])} {_figure(row, state)}</span>"
    return f"<span style='{_WHOLE}{_GAP}'>{dot}{label}</span>"


def _figure(row: NameCount, state: ProgressState) -> str:
    """``20`` where all are done, else ``3/20``; with ``~`` where it is an estimate."""
    figure = str(row["total"]) if row["done"] == row["total"] else f"{row['done']}/{row['total']}"
    return figure if state["exact"] else f"~{figure}"


def _note(run: Run, running: int, rate_text: str, nested: NestedCount | None) -> str:
    parts = ["stopped"] if run.status == "cancelled" else []
    given_up = len(run.unfinished) - len(run.failures) if run.status == "running" else 0
    if given_up > 0:
        parts.append(f"{given_up:,} cancelled")
    if running:
        parts.append(f"{running} running")
    if rate_text:
        parts.append(rate_text)
    if nested and nested["runs"]:
        plural = "" if nested["runs"] == 1 else "s"
        parts.append(f"{nested['runs']} nested run{plural} {nested['done']}/{nested['total']}")
    return " · ".join(parts)


def _failure(run: Run) -> str:
    failure = run.failure
    if failure is None:
        return ""
    count = f"{run.n_failed:,} failed, first" if run.n_failed > 1 else "failed"
    return f"{count} at {key_label(failure.key)}: {error_label(failure.exception)}"
