"""``%%graph``: draws the graph of every run that a cell starts, or of the collection that it ends with."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from taskloom import config, scheduling
from taskloom.graph import cull, is_task
from taskloom.notebook.awaiting_cells import AwaitingCells, at_end_of_cell
from taskloom.notebook.run_follower import MOST_GRAPHS, MOST_TASKS, RunFollower, View
from taskloom.views.graph import save_svg, svg_path
from taskloom.views.graph_boxes import Diagram, read_graph
from taskloom.views.graph_picture import Picture, picture_of, picture_of_run, svg
from taskloom.views.graph_sources import graph_sources
from taskloom.views.graph_states import BoxStates

if TYPE_CHECKING:
    from taskloom.bus import Run, RunGraph
    from taskloom.notebook.live_output import LiveOutputs

KEPT_LIVE = 6  # graphs that can be explored when they are over; older ones are pictures
OPTIONS = ("--no-run", "--optimized", "--layers", "--save")


# IPython's, which carry no types.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
with_options: Callable[[], Decorator] = magic_arguments
option: Callable[..., Decorator] = argument
parse: Callable[[Any, str], Any] = parse_argstring

NewView = Callable[[dict[str, "RunGraph"], "Run | None", "bool | None"], View]


class GraphMagic:
    """The magic of one shell, and the graphs that it has drawn.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs or None
        In a Jupyter kernel graphs are widgets, elsewhere a line of text.
    leave_out : callable
        Told of each run that a widget shows, which needs no progress bar beside it.
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs | None, leave_out: Callable[[Run], None]) -> None:
        self._shell = shell
        self._new_view = _drawing(outputs, leave_out)
        self._over: deque[View] = deque()
        self._followers: list[RunFollower] = []
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.graph, "line_cell", "graph")
        self._awaiting = AwaitingCells(shell, "graph")
        hook: Callable[..., None] = shell.set_hook
        hook("complete_command", _complete, str_key="%%graph")

    def close(self) -> None:
        """Take the magic away, and leave pictures where graphs are."""
        self._awaiting.close()
        for magics in self._shell.magics_manager.magics.values():
            magics.pop("graph", None)
        self._shell.strdispatchers["complete_command"].strs.pop("%%graph", None)
        for follower in self._followers:
            follower.close()
        self._keep(0)

    @with_options()
    @option("--no-run", action="store_true", help="draw what the cell would compute first, and do not compute it")
    @option("--optimized", action="store_true", help="of a collection, draw only the graph as it would run")
    @option("--layers", action="store_true", help="draw one box for all tasks of a name, however few there are")
    @option("--save", metavar="FILE.svg", help="write the picture to a file; that of a second graph to FILE-2.svg")
    def graph(self, line: str, cell: str | None = None) -> Any:
        """Run the cell and draw the graph of every run that it starts, or of the collection that it ends with.

        Boxes are tasks, coloured by what they are doing; with more than 300 tasks a box stands for all tasks of one
        name, and a click opens it. Drag to move, Ctrl and the wheel or + and - to zoom; point at a box to read more.
        By keyboard Tab leads to a box, arrow keys to the next, and Enter opens a group. When the run is over, the chain
        of tasks that took longest is marked.

        As ``%graph`` in a cell's first line it does the same for the rest of the cell; a ``%%graph`` cell that awaits
        something at its top level is run that way.
        """
        __tracebackhide__ = True
        options = parse(self.graph, line)
        if cell is None and options.no_run:
            raise UsageError("%%graph --no-run: not for a cell that awaits something, which has to run to its end.")
        drawn = self._begin(options)
        if cell is None:
            at_end_of_cell(self._shell, lambda result: self._end_awaiting(drawn, result))
            return None
        value, graphs = None, {}
        try:
            with _nothing_runs() if options.no_run else nullcontext():
                value = self._execute(cell)
        except NotRun as stop:
            graphs = {"Not run": stop.graph}
        except BaseException:
            self._leave(drawn, [])
            raise
        return None if self._end(drawn, value, graphs) else value

    def _begin(self, options: Any) -> _DrawnCell:
        save = _checked_name(options.save)
        collapsed = True if options.layers else None
        follower = RunFollower(lambda run: self._new_view({"": run.graph}, run, collapsed))
        self._followers = [other for other in self._followers if other.active] + [follower]
        return _DrawnCell(follower, collapsed, options.optimized, not options.no_run, save)

    def _end_awaiting(self, cell: _DrawnCell, result: Any) -> None:
        if result.success:
            self._end(cell, result.result, {})
        else:
            self._leave(cell, [])

    def _end(self, cell: _DrawnCell, value: Any, graphs: dict[str, RunGraph]) -> bool:
        """Draw what has not run, and say whether a drawing stands for the cell's value."""
        cell.follower.end_of_cell()
        if not cell.follower.saw_run and not graphs:
            graphs = _graphs_of(value, cell.optimized, cell.may_compute)
        views = [self._new_view(graphs, None, cell.collapsed)] if graphs else []
        for view in views:
            view.rest()
        self._leave(cell, views)
        if not cell.follower.saw_run and not graphs:
            print("%%graph: this cell computes nothing and ends with no collection, so there is no graph to draw.")
        return bool(graphs)

    def _leave(self, cell: _DrawnCell, views: list[View]) -> None:
        """Look after the graphs of a cell that is over, `views` are those of no run."""
        follower = cell.follower
        follower.end_of_cell()
        views = [*follower.views, *views]
        self._over.extend(views)
        self._keep(KEPT_LIVE)
        if follower.left_out:
            what = "1 more run is" if follower.left_out == 1 else f"{follower.left_out:,} more runs are"
            print(f"{what} not drawn: %%graph draws {MOST_GRAPHS} runs of a cell, of up to {MOST_TASKS:,} tasks each.")
        if cell.save is not None:
            _save([picture for view in views for picture in view.pictures()], cell.save)

    def _execute(self, cell: str) -> Any:
        """Run the cell's code in the user's namespace as the shell does, and return the value of its last line."""
        __tracebackhide__ = True
        shell: Any = self._shell  # whose methods here carry no types
        names = shell.user_global_ns, shell.user_ns
        source = shell.transform_cell(cell)
        number = len(shell.history_manager.input_hist_parsed) - 1  # of the cell that is running
        file = shell.compile.cache(source, number, raw_code=cell)
        tree = shell.transform_ast(shell.compile.ast_parse(source, filename=file))
        ends_with_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
        last = tree.body.pop() if ends_with_value else None
        exec(shell.compile(tree, file, "exec"), *names)
        return None if last is None else eval(shell.compile(ast.Expression(last.value), file, "eval"), *names)

    def _keep(self, count: int) -> None:
        while len(self._over) > count:
            self._over.popleft().close()


class _DrawnCell(NamedTuple):
    """A cell while it runs, and what was asked for."""

    follower: RunFollower
    collapsed: bool | None
    optimized: bool
    may_compute: bool
    save: str | None


class NotRun(BaseException):
    """Ends a cell that is not to compute: no error, so nothing that handles errors may catch it."""

    def __init__(self, graph: RunGraph) -> None:
        self.graph = graph


@contextmanager
def _nothing_runs() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(config.set(scheduler=_do_not_run))
        for source in graph_sources:
            stack.enter_context(source.scheduled_by(_do_not_run))
        yield


def _do_not_run(dsk: Any, keys: Any, **_options: Any) -> Any:
    """The scheduler of `--no-run`."""
    for source in graph_sources:
        if (graph := source.graph_of(dsk)) is not None:
            raise NotRun(graph)
    raise NotRun(read_graph(cull(dsk, _flat(keys))))


def _flat(keys: Any) -> list[Any]:
    return [key for part in keys for key in _flat(part)] if isinstance(keys, list) else [keys]


def _graphs_of(value: Any, optimized: bool, may_compute: bool) -> dict[str, RunGraph]:
    """The graphs of the collection that `value` is, by title; of any other value none."""
    members = value if isinstance(value, list | tuple) else [value]
    collections = [member for member in members if scheduling.is_collection(member)]
    if not collections:
        is_graph = isinstance(value, Mapping) and any(map(is_task, value.values()))
        return {"Not run": read_graph(value)} if is_graph else {}
    for source in graph_sources:
        if any(map(source.owns, collections)):
            return source.graphs(collections, optimized, may_compute)
    keys = [key for collection in collections for key in _flat(collection.__dask_keys__())]
    after = read_graph(cull(scheduling.merged_graph(collections, True), keys))
    if optimized:
        return {"After optimisation": after}
    before = read_graph(scheduling.merged_graph(collections, False))
    return {"Before optimisation": before, "After optimisation": after}


def _checked_name(name: str | None) -> str | None:
    """The file to write, looked at before the cell runs."""
    if name is None:
        return None
    try:
        path = svg_path(name.strip("'\""))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not path.parent.is_dir():
        raise UsageError(f"%%graph --save: there is no folder {str(path.parent)!r}.")
    return str(path)


def _save(pictures: list[Picture], name: str) -> None:
    if not pictures:
        print(f"There is no graph to write to {name}.")
    for number, picture in enumerate(pictures, 1):
        path = svg_path(name)
        save_svg(svg(picture), str(path if number == 1 else path.with_stem(f"{path.stem}-{number}")))


def _complete(_shell: Any, _event: Any) -> Sequence[str]:
    return OPTIONS


class TextView:
    """A graph where there is no place for a picture: a line that says what it is."""

    def __init__(self, graphs: dict[str, RunGraph], run: Run | None, collapsed: bool | None) -> None:
        self._run = run
        self._graphs = graphs
        self._collapsed = collapsed

    def draw(self) -> None:
        """Nothing yet: lines of text do not move."""

    def rest(self) -> None:
        """Print the line."""
        for picture in self.pictures():
            print(f"Graph of {picture.title}{': ' if picture.failure else ''}{picture.failure}")

    def close(self) -> None:
        """Nothing is left to do: the line stays."""

    def pictures(self) -> list[Picture]:
        """What `--save` writes."""
        diagrams = {title: Diagram(graph, collapsed=self._collapsed) for title, graph in self._graphs.items()}
        if self._run is not None:
            (diagram,) = diagrams.values()
            return [picture_of_run(self._run, diagram, BoxStates(self._run, diagram).look())]
        return [
            picture_of(diagram, f"{title} · {len(diagram.graph):,} {diagram.layers.unit}")
            for title, diagram in diagrams.items()
        ]


def _drawing(outputs: LiveOutputs | None, leave_out: Callable[[Run], None]) -> NewView:
    """How graphs are drawn."""
    if outputs is None:
        return TextView

    from taskloom.notebook.graph_widget import GraphView

    def new_view(graphs: dict[str, RunGraph], run: Run | None, collapsed: bool | None) -> View:
        if run is not None:
            leave_out(run)
        return GraphView(outputs, graphs, run, collapsed)

    return new_view
