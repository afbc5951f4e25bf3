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
SHORT_TASK = 1e-3  # seconds


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

    `problem` says why it did not finish, `note` what else to know; texts of one line, not yet escaped.
    """

    engine: str
    trials: list[Trial] = field(default_factory=list)
    problem: str = ""
    note: str = ""

    @property
    def measured(self) -> bool:
        return bool(self.trials) and not self.problem

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
        """Cores busy on average."""
        return self.median_of("cpu") / self.seconds if self.seconds else nan

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
        """The engine with the shortest time; None if none has finished."""
        return min(self._measured(), key=lambda row: row.seconds, default=None)

    @property
    def recommendation(self) -> str:
        """Which engine to prefer, and why."""
        return recommend(self._measured())

    def _measured(self) -> list[EngineTrials]:
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
    best, *others = sorted(rows, key=lambda row: row.seconds)
    if not others:
        return f"{best.engine}: nothing else finished."
    second = others[0]
    if second.seconds < best.seconds * CLEAR or second.fastest <= best.slowest:
        names = f"{best.engine} and {second.engine}"
        return f"No clear difference between {names}: choose by what else you need. {_reason(best, others)}".strip()
    ratio = second.seconds / best.seconds
    return f"{best.engine}: {ratio:.1f} times as fast as {second.engine}. {_reason(best, others)}".strip()


def _reason(best: EngineTrials, others: Sequence[EngineTrials]) -> str:
    """What the figures say about the work."""
    tasks = best.median_of("tasks")
    if not tasks:
        return "The work holds no tasks, so the engine makes no difference."
    if best.median_of("busy") < tasks * SHORT_TASK and best.median_of("overhead") > 0.5:
        return "Most of the time is not in tasks: larger tasks would gain more than another engine."
    if best.cores > ONE_CORE:
        return f"{best.cores:.1f} cores were busy."
    widest = max((best, *others), key=lambda row: row.parallelism)
    if widest.parallelism <= ONE_CORE:
        return "The tasks follow one another: there was nothing to run side by side."
    if widest is best and any(row.seconds > best.seconds * CLEAR for row in others):
        return "The tasks wait much of the time, and others ran meanwhile."
    return f"On {widest.engine} the tasks took turns at the interpreter's lock: one core was busy at a time."


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
    return "\n".join([*lines, comparison.recommendation])


def comparison_html(comparison: Comparison) -> str:
    """Draw a comparison as HTML that needs neither script nor style sheet, and is safe whatever the messages are."""
    longest = max((row.seconds for row in comparison.engines if row.measured), default=nan)
    best = comparison.best
    header = "".join(
        f"<th style='{_CELL}{'text-align:left;' if column == 0 else ''}'>{name}</th>"
        for column, name in enumerate((*_HEADER, ""))
    )
    rows = "".join(_row_html(row, longest, row is best) for row in comparison.engines)
    return (
        f"<div class='taskloom-compare' style='{_ROOT}'><table style='{_TABLE}'><thead><tr>{header}</tr></thead>"
        f"<tbody>{rows}</tbody></table><div><b>{escape(comparison.recommendation)}</b></div></div>"
    )


_ROOT = "font-size:13px;line-height:20px;padding:2px 0;"
_TABLE = "border-collapse:collapse;margin:0 0 4px;font-size:13px;"
_CELL = "padding:2px 16px 2px 0;text-align:right;white-space:nowrap;border:0;"
_WIDE = "padding:2px 0;text-align:left;white-space:normal;"
_BAR = "display:inline-block;height:8px;border-radius:4px;vertical-align:middle;"
_FULL = 120  # pixels of the longest time's bar
_BEST, _OTHER = NAME_COLORS[2], "rgba(128,128,128,0.45)"


def _row_html(row: EngineTrials, longest: float, best: bool) -> str:
    name = f"<td style='padding:2px 16px 2px 0;text-align:left;'><b>{escape(row.engine)}</b></td>"
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
        _or_dash(row.cores, f"{row.cores:.1f}"),
        _or_dash(memory, f"{memory / 2**20:,.0f} MiB"),
        _or_dash(overhead, f"{overhead:.0%}"),
    )


def _or_dash(value: float, text: str) -> str:
    return "–" if isnan(value) else text
