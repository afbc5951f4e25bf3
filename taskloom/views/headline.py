"""A run in a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskloom.views.labels import duration, error_label, key_label, name_label, short_time

if TYPE_CHECKING:
    from taskloom.bus import Run

WORDS = {"running": "running", "finished": "finished", "failed": "failed", "cancelled": "stopped"}


def headline(run: Run | None) -> str:
    """Say in a line what a run is, how far it is, and what ended it.

    >>> headline(None)
    'No run yet: the next one appears here.'
    """
    if run is None:
        return "No run yet: the next one appears here."
    text = f"Run {run.id} · {name_label(run.engine)} · {run.n_done:,}/{run.n_tasks:,} tasks · {WORDS[run.status]}"
    running = run.status == "running"  # what counts up in milliseconds cannot be read
    text += f" · {duration(run.duration) if running else short_time(run.duration)}"
    if run.n_failed > 1:
        text += f" · {run.n_failed:,} failed"
    if run.failure is not None:
        text += f" · {key_label(run.failure.key)}: {error_label(run.failure.exception)}"
    return text
