"""Watch runs from a script: a progress bar and three profilers, under the names that `dask.diagnostics` gave them.

>>> import taskloom
>>> from taskloom.diagnostics import Profiler
>>> with Profiler() as profiler:
...     taskloom.get({"x": 1, "y": (max, "x", 10), "z": (abs, "y")}, "z")
10
>>> [(row.key, row.task) for row in profiler.results]
[('y', (<built-in function max>, 'x', 10)), ('z', (<built-in function abs>, 'y'))]
"""

from taskloom.diagnostics.cache_profiler import CacheData, CacheProfiler
from taskloom.diagnostics.drawing import visualize
from taskloom.diagnostics.progress_bar import ProgressBar
from taskloom.diagnostics.resource_profiler import ResourceData, ResourceProfiler
from taskloom.diagnostics.task_profiler import Profiler, TaskData

__all__ = [
    "CacheData",
    "CacheProfiler",
    "Profiler",
    "ProgressBar",
    "ResourceData",
    "ResourceProfiler",
    "TaskData",
    "visualize",
]
