"""taskloom in IPython and Jupyter: what ``%load_ext taskloom`` adds and ``%unload_ext taskloom`` takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taskloom import config

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from taskloom.notebook.live_output import LiveOutputs


class _Part(Protocol):
    def close(self) -> None: ...


_parts: list[_Part] = []  # closed in reverse order


def load(shell: InteractiveShell) -> None:
    """Add the magics and views to a shell; does nothing if they are there."""
    if not _parts:
        from taskloom.notebook.compare_magic import CompareMagic
        from taskloom.notebook.dashboard_magic import DashboardMagic
        from taskloom.notebook.dask_collections import Dask
        from taskloom.notebook.debugger import Debugger
        from taskloom.notebook.graph_magic import GraphMagic
        from taskloom.notebook.progress_magic import ProgressMagic
        from taskloom.notebook.replaced_clients import ReplacedClients
        from taskloom.notebook.replay_magic import ReplayMagic
        from taskloom.notebook.scheduler_magic import SchedulerMagic

        if config.get("notebook.dask"):
            _parts.append(Dask())
        outputs = _live_outputs(shell)
        progress = ProgressMagic(shell, outputs)
        _parts.append(progress)
        _parts.append(SchedulerMagic(shell, outputs))
        _parts.append(GraphMagic(shell, outputs, progress.leave_out))
        _parts.append(CompareMagic(shell, outputs))
        _parts.append(Debugger(shell))
        _parts.append(ReplayMagic(shell))
        _parts.append(DashboardMagic(shell, outputs))
        _parts.append(ReplacedClients(shell))
        if outputs is not None:
            from taskloom.notebook.cluster_widget import ClusterViews

            _parts.append(ClusterViews(shell, outputs))


def unload(shell: InteractiveShell) -> None:
    """Take everything away that `load` added, and turn live views into pictures."""
    while _parts:
        _parts.pop().close()


def _live_outputs(shell: InteractiveShell) -> LiveOutputs | None:
    """Where the views of this shell live; None in a terminal, which has no place for them."""
    from taskloom.notebook.cells import Cells, in_kernel

    if not in_kernel(shell):
        return None

    from taskloom.notebook.live_output import LiveOutputs  # ipywidgets takes a while, and a terminal needs none of it

    outputs = LiveOutputs(Cells(shell))
    _parts.append(outputs)
    return outputs
