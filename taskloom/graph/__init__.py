"""What to compute: keys, tasks, graphs, and the plan that engines run. Needs nothing but the standard library."""

from taskloom.graph.annotations import (
    Annotations,
    annotate,
    annotated,
    annotated_graph,
    annotations_of,
    check_annotation,
    is_annotation,
)
from taskloom.graph.foreign import (
    adopted,
    adopter_of,
    foreign,
    foreign_choices,
    foreign_graphs,
    foreign_schedulers,
    of_library,
)
from taskloom.graph.optimize import cull, fuse
from taskloom.graph.plan import Plan, checked_graph, compile_plan, order
from taskloom.graph.reading import Reader
from taskloom.graph.recipe import Recipe, evaluate
from taskloom.graph.task import (
    Graph,
    Key,
    Task,
    apply,
    did_you_mean,
    function_name,
    identity,
    is_task,
    nearest_keys,
    short_key,
    task_name,
)
from taskloom.graph.task_graph import dependencies

__all__ = [
    "Annotations",
    "Graph",
    "Key",
    "Plan",
    "Reader",
    "Recipe",
    "Task",
    "adopted",
    "adopter_of",
    "annotate",
    "annotated",
    "annotated_graph",
    "annotations_of",
    "apply",
    "check_annotation",
    "checked_graph",
    "compile_plan",
    "cull",
    "dependencies",
    "did_you_mean",
    "evaluate",
    "foreign",
    "foreign_choices",
    "foreign_graphs",
    "foreign_schedulers",
    "function_name",
    "fuse",
    "identity",
    "is_annotation",
    "is_task",
    "nearest_keys",
    "of_library",
    "order",
    "short_key",
    "task_name",
]
