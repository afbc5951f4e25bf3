"""What happened: run records, the bus that tells listeners of them, and callbacks."""

from taskloom.bus.callback import Callback
from taskloom.bus.columns import Tasks
from taskloom.bus.event_bus import EventBus, Subscription, hold_updates, last_run, runs, subscribe, witnessed_by
from taskloom.bus.run import Failure, Run, Sample, Worker, current_run, presenters
from taskloom.bus.run_graph import RunGraph

__all__ = [
    "Callback",
    "EventBus",
    "Failure",
    "Run",
    "RunGraph",
    "Sample",
    "Subscription",
    "Tasks",
    "Worker",
    "current_run",
    "hold_updates",
    "last_run",
    "presenters",
    "runs",
    "subscribe",
    "witnessed_by",
]
