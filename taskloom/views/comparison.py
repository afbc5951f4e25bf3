"""The same work on several engines: figures, which engine to prefer and why, as text, HTML and a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import isnan, nan
from statistics import median
from typing import TYPE_CHECKING

from taskloom.bus.summary import seconds as time_text
from taskloom.views.palette import FAILED_COLOR, NAME_COLORS

if TYPE_CHECKING:
    import pandas as pd

CLEAR = 1.1  # times faster than the next: less is not worth a choice
ONE_CORE = 1.2  # cores busy, at most, where tasks take turns
IDLE = 0.5  # cores busy, at most, of work that mostly waits while nothing else runs
CLEARLY_MORE = 1.3  # times as many cores busy
OWN_LOCKS = ("processes", "distributed")  # engines whose workers are processes, each with an interpreter's lock
SHORT_TASK = 1e-3  # seconds
SHORT_WORK = 0.02  # seconds: of less, what other threads do takes too large a share to say which cores were busy


@dataclass(frozen=True, slots=True)
class Trial:
    """One time that the work was done, from its run records. NaN is what could not be measured.

    Attributes
    ----------
    seconds : from start to end, what is not in runs included.
    cpu : seconds of CPU time.
    peak_memory : bytes of memory of all processes involved, the most that a sample showed.
    overhead : share of the workers' time in runs that was not in tasks, 0 to 1.
    tasks : how many ran.
    busy : seconds in tasks, summed over workers.
    """

    seconds: float
    cpu: float = nan
    peak_memory: float = nan
    overhead: float = nan
    tasks: int = 0
    busy: float = 0.0


@dataclass(slots=True)
class EngineTrials:
    """What one engine did.

    `used` are the engines that the work then ran on: it may choose for itself. `problem` says why it did not finish,
    `limit_note` why it was not done more often; texts of one line, not yet escaped.
    """

    engine: str
    trials: list[Trial] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    problem: str = ""
    limit_note: str = ""

    @property
    def measured(self) -> bool:
        return bool(self.trials) and not self.problem

    @property
    def ran_elsewhere(self) -> bool:
        """Whether the work chose another engine for all that it computed."""
        return bool(self.used) and self.engine not in self.used

    @property
    def note(self) -> str:
        """What else to know."""
        others = ", ".join(sorted(self.used - {self.engine}))
        if self.measured and not self.median_of("tasks"):
            choice = "computed nothing"
        elif self.ran_elsewhere:
            choice = f"ran on {others}: the cell itself chose"
        else:
            choice = f"in part on {others}, as the cell itself chose" if others else ""
        return "; ".join(filter(None, (choice, self.limit_note)))

    @property
    def seconds(self) -> float:
        return self.median_of("seconds")

    @property
    def fastest(self) -> float:
        return min((trial.seconds for trial in self.trials), default=nan)

    @property
    def slowest(self) -> float:
        return max((trial.seconds for trial in self.trials), default=nan)

    @property
    def cores(self) -> float:
        """Cores busy on average; NaN where the work is too short to tell."""
        return self.median_of("cpu") / self.seconds if self.seconds >= SHORT_WORK else nan

    @property
    def parallelism(self) -> float:
        """Tasks that ran at a time, on average."""
        return self.median_of("busy") / self.seconds if self.seconds else nan

    def median_of(self, figure: str) -> float:
        values = [value for trial in self.trials if not isnan(value := float(getattr(trial, figure)))]
        return median(values) if values else nan


class Comparison:
    """The same work on several engines: what `%compare` answers.

    Parameters
    ----------
    engines : sequence of EngineTrials

    Examples
    --------
    >>> sync = EngineTrials("sync", [Trial(2.0, cpu=2.0, tasks=8, busy=2.0)])
    >>> threads = EngineTrials("threads", [Trial(1.0, cpu=2.0, tasks=8, busy=2.0)])
    >>> comparison = Comparison([sync, threads])
    >>> comparison.best.engine
    'threads'
    >>> print(comparison.recommendation)
    threads: 2.0 times as fast as sync. 2.0 cores were busy.
    """

    def __init__(self, engines: Sequence[EngineTrials]) -> None:
        self.engines = list(engines)

    @property
    def best(self) -> EngineTrials | None:
        """The engine with the shortest time; None if none has finished, or the work left none a choice."""
        rows = self.measured
        return None if _no_choice(rows) else min(rows, key=lambda row: row.seconds, default=None)

    @property
    def recommendation(self) -> str:
        """Which engine to prefer, and why."""
        return recommend(self.measured)

    @property
    def measured(self) -> list[EngineTrials]:
        """The engines that have finished."""
        return [row for row in self.engines if row.measured]

    def to_frame(self) -> pd.DataFrame:
        """The trials as a `pandas.DataFrame`, a row each; an engine that did not finish is a row that says so.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Comparison.to_frame needs pandas: pip install pandas.") from error
        figures = ("seconds", "cpu", "peak_memory", "overhead", "tasks")
        rows = [
            {"engine": row.engine, **{name: getattr(trial, name) for name in figures}, "problem": row.problem}
            for row in self.engines
            for trial in row.trials or [Trial(nan)]
        ]
        return pd.DataFrame(rows, columns=["engine", *figures, "problem"])

    def __repr__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        return comparison_html(self)


def recommend(rows: Sequence[EngineTrials]) -> str:
    """Which of some measured engines to prefer, and why."""
    if not rows:
        return "No engine finished: nothing can be recommended."
    if no_choice := _no_choice(rows):
        return no_choice
    best, *others = sorted(rows, key=lambda row: row.seconds)
    if not others:
        return f"{best.engine}: nothing else finished."
    second = others[0]
    if second.seconds < best.seconds * CLEAR or second.fastest <= best.slowest:
        names = f"{best.engine} and {second.engine}"
        return f"No clear difference between {names}: choose by what else you need. {_reason(best, others)}".strip()
    ratio = second.seconds / best.seconds
    return f"{best.engine}: {ratio:.1f} times as fast as {second.engine}. {_reason(best, others)}".strip()


def _no_choice(rows: Sequence[EngineTrials]) -> str:
    """Why the engine made no difference; empty where it could."""
    if rows and not any(row.median_of("tasks") for row in rows):
        return (
            "Nothing to compare: the cell computed nothing with taskloom. Is there a compute() in it, of something "
            "that is not computed yet?"
        )
    chosen = sorted({name for row in rows if row.ran_elsewhere for name in row.used})
    if chosen:
        return (
            f"Nothing to compare: the cell itself chose {', '.join(chosen)}. Leave scheduler= out of its calls, and "
            "each engine gets its turn."
        )
    return ""


def _reason(best: EngineTrials, others: Sequence[EngineTrials]) -> str:
    """What the figures say about the work."""
    tasks = best.median_of("tasks")
    if best.median_of("busy") < tasks * SHORT_TASK and best.median_of("overhead") > 0.5:
        return "Most of the time is not in tasks: larger tasks would gain more than another engine."
    if isnan(best.cores):
        return "The work is too short to say why."
    if best.cores > ONE_CORE:
        return f"{best.cores:.1f} cores were busy."
    widest = max((best, *others), key=lambda row: row.parallelism)
    if widest.parallelism <= ONE_CORE:
        return "The tasks ran one after the other: each needs the one before, or is too short to overlap with others."
    sequential = next((row for row in (best, *others) if row.engine == "sync"), None)
    if widest is best and sequential and sequential.seconds > best.seconds * CLEAR and sequential.cores < IDLE:
        return "The tasks wait much of the time, and others ran meanwhile."
    if widest.engine == "threads" and any(
        row.engine in OWN_LOCKS and row.cores > widest.cores * CLEARLY_MORE for row in (best, *others)
    ):
        return "On threads the tasks took turns at the interpreter's lock: one core was busy at a time."
    return (
        f"On {widest.engine} tasks ran side by side with {widest.cores:.1f} cores busy: the machine may be busy with "
        "something else, tasks may wait, or BLAS threads compete: then OMP_NUM_THREADS=1 is worth a try."
    )


TOO_SHORT = "n/a"
_SHORT_NOTE = f"n/a: work of less than {SHORT_WORK * 1000:.0f} ms is too short to say how many cores were busy."
_HEADER = ("engine", "time", "spread", "CPU", "cores", "peak memory", "not in tasks")


def comparison_text(comparison: Comparison) -> str:
    """Draw a comparison as lines of text."""
    table = [_HEADER, *(_cells(row) for row in comparison.engines if row.measured)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADER))]
    lines = [
        "  ".join([f"{line[0]:{widths[0]}}", *map(str.rjust, line[1:], widths[1:])])
        for line in (table if len(table) > 1 else [])
    ]
    lines += [f"{row.engine}: {text}" for row in comparison.engines if (text := row.problem or row.note)]
    return "\n".join([*lines, *_short_notes(comparison), comparison.recommendation])


def comparison_html(comparison: Comparison) -> str:
    """Draw a comparison as HTML that needs neither script nor style sheet, and is safe whatever the messages are."""
    longest = max((row.seconds for row in comparison.measured), default=nan)
    best = comparison.best
    header = "".join(
        f"<th scope='col' style='{_CELL}{'text-align:left;' if column == 0 else ''}'>{name}</th>"
        for column, name in enumerate(_HEADER)
    )
    rows = "".join(_row_html(row, longest, row is best) for row in comparison.engines)
    notes = "".join(f"<div style='opacity:0.75;font-size:12px;'>{note}</div>" for note in _short_notes(comparison))
    return (
        f"<div class='taskloom-compare' style='{_ROOT}'><div style='overflow-x:auto;'>"
        f"<table style='{_TABLE}' aria-label='The same work on each engine'><thead><tr>{header}"
        f"<td style='border:0;'></td></tr></thead><tbody>{rows}</tbody></table></div>{notes}"
        f"<div><b>{escape(comparison.recommendation)}</b></div></div>"
    )


def _short_notes(comparison: Comparison) -> list[str]:
    return [_SHORT_NOTE] if any(row.seconds < SHORT_WORK for row in comparison.measured) else []


_ROOT = "font-size:13px;line-height:20px;padding:2px 0;"
_TABLE = "border-collapse:collapse;margin:0 0 4px;font-size:13px;font-variant-numeric:tabular-nums;"
_CELL = "padding:2px 16px 2px 0;text-align:right;white-space:nowrap;border:0;"
_WIDE = "padding:2px 0;text-align:left;white-space:normal;"
_BAR = "display:inline-block;height:8px;border-radius:4px;vertical-align:middle;margin-right:8px;"
_FULL = 120  # pixels of the longest time's bar
_BEST, _OTHER = NAME_COLORS[2], "rgba(128,128,128,0.45)"


def _row_html(row: EngineTrials, longest: float, best: bool) -> str:
    name = f"<th scope='row' style='padding:2px 16px 2px 0;text-align:left;'>{escape(row.engine)}</th>"
    if not row.measured:
        return f"<tr>{name}<td colspan='7' style='{_WIDE}color:{FAILED_COLOR};'>{escape(row.problem)}</td></tr>"
    cells = "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in _cells(row)[1:])
    width = max(2.0, _FULL * row.seconds / longest) if longest else 2.0
    bar = f"<span style='{_BAR}width:{width:.0f}px;background-color:{_BEST if best else _OTHER};'></span>"
    note = f" <span style='opacity:0.7;'>{escape(row.note)}</span>" if row.note else ""
    return f"<tr>{name}{cells}<td style='{_WIDE}'>{bar}{note}</td></tr>"


def _cells(row: EngineTrials) -> tuple[str, ...]:
    memory, overhead = row.median_of("peak_memory"), row.median_of("overhead")
    return (
        row.engine,
        time_text(row.seconds),
        f"{time_text(row.fastest)} – {time_text(row.slowest)}" if len(row.trials) > 1 else "–",
        _or_dash(row.median_of("cpu"), time_text(row.median_of("cpu"))),
        TOO_SHORT if row.seconds < SHORT_WORK else _or_dash(row.cores, f"{row.cores:.1f}"),
        _or_dash(memory, f"{memory / 2**20:,.0f} MiB"),
        _or_dash(overhead, f"{overhead:.0%}"),
    )


def _or_dash(value: float, text: str) -> str:
    return "–" if isnan(value) else text
