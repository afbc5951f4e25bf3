"""What happened: run records, the bus that tells listeners of them, and callbacks."""

from taskloom.bus.callback import Callback
from taskloom.bus.columns import Tasks
from taskloom.bus.event_bus import (
    EventBus,
    Subscription,
    begin_burst,
    hold_updates,
    last_run,
    runs,
    subscribe,
    witnessed_by,
)
from taskloom.bus.failure import Failure
from taskloom.bus.graph_layers import Layer, LayerReader, Layers, layer_readers
from taskloom.bus.growing_run import GrowingRun
from taskloom.bus.run import Run, current_run, presenters
from taskloom.bus.run_graph import RunGraph
from taskloom.bus.workers import Sample, Transfer, Worker

__all__ = [
    "Callback",
    "EventBus",
    "Failure",
    "GrowingRun",
    "Layer",
    "LayerReader",
    "Layers",
    "Run",
    "RunGraph",
    "Sample",
    "Subscription",
    "Tasks",
    "Transfer",
    "Worker",
    "begin_burst",
    "current_run",
    "hold_updates",
    "last_run",
    "layer_readers",
    "presenters",
    "runs",
    "subscribe",
    "witnessed_by",
]
