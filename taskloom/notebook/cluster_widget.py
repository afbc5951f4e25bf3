"""Clusters in a notebook: a cell that ends with one shows it live, with controls for its size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets
from IPython.core.interactiveshell import InteractiveShell

from taskloom.notebook.cells import MimeBundle
from taskloom.notebook.frontend import widget_source
from taskloom.notebook.live_output import LiveOutput, LiveOutputs, LiveWidget

if TYPE_CHECKING:
    from taskloom.engines.cluster.local_cluster import LocalCluster
    from taskloom.notebook.cluster_state import ClusterState

KEPT_LIVE = 4  # views; older ones become pictures
LOOK_EVERY = 0.5  # seconds: memory changes without anybody telling

_MODULE, _CLASS = "taskloom.engines.cluster.local_cluster", "LocalCluster"


class ClusterWidget(LiveWidget):
    """Draws the state it is given, and sends what is clicked."""

    _esm = widget_source("cluster", "js")
    _css = widget_source("cluster", "css")
    cluster = traitlets.Dict().tag(sync=True)  # a ClusterState
    error_text = traitlets.Unicode().tag(sync=True)


class ClusterView:
    """One live view, in the newest cell."""

    def __init__(self, outputs: LiveOutputs, cluster: LocalCluster) -> None:
        from taskloom.engines.cluster.overview import stop_runs

        self.cluster = cluster
        self._lock = threading.Lock()
        self._shown: tuple[ClusterState, bool] | None = None
        self._is_over = False
        self._output = LiveOutput(outputs, ClusterWidget, partial(stop_runs, cluster), self._receive)
        self.update()

    def update(self, error_text: str | None = None) -> None:
        """Show the cluster as it is now; one that is closed leaves a picture."""
        from taskloom.notebook.cluster_state import is_busy, state_of

        with self._lock:
            if self._is_over:
                return
            now = state_of(self.cluster), is_busy(self.cluster)
            if now != self._shown or error_text is not None:
                state, busy = self._shown = now
                traits: dict[str, Any] = {"cluster": state, "running": busy}
                if not busy:
                    traits["stopping"] = False
                if error_text is not None:
                    traits["error_text"] = error_text
                self._output.show(_picture(state), **traits)
            if now[0]["status"] == "closed":
                self._finish(now[0])

    @property
    def is_over(self) -> bool:
        """Whether it is a picture by now."""
        return self._is_over

    def close(self) -> None:
        """Leave a picture."""
        from taskloom.notebook.cluster_state import state_of

        with self._lock:
            if not self._is_over:
                self._finish(state_of(self.cluster))

    def _finish(self, state: ClusterState) -> None:
        self._is_over = True
        self._output.finish(_picture(state), cluster=state)

    def _receive(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        action = self._actions.get(str(content.get("type")))
        if action is None:
            return
        try:
            action(self.cluster, content)
        except (ValueError, RuntimeError) as error:
            self.update(str(error))
        else:
            self.update("")

    _actions: ClassVar[dict[str, Callable[[LocalCluster, dict[str, Any]], object]]] = {
        "scale": lambda cluster, content: cluster.scale(content.get("n")),
        "adapt": lambda cluster, content: cluster.adapt(content.get("minimum"), content.get("maximum")),  # type: ignore[arg-type]  # they are checked there
    }


class ClusterViews:
    """The views of clusters in a shell; a terminal has none, and shows clusters as text.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs) -> None:
        self._outputs = outputs
        self._views: list[ClusterView] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._formatter: Any = shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]
        self._formatter.for_type_by_name(_MODULE, _CLASS, self._show)

    def close(self) -> None:
        """Turn all into pictures, and show clusters as before."""
        self._formatter.pop(f"{_MODULE}.{_CLASS}", None)
        self._closed.set()
        with self._lock:
            views, self._views = self._views, []
            thread = self._thread
        for view in views:
            view.close()
        if thread is not None:
            thread.join()

    def _show(self, cluster: LocalCluster) -> None:
        """Put one more into the newest cell."""
        view = ClusterView(self._outputs, cluster)
        with self._lock:
            self._views.append(view)
            old, self._views = self._views[:-KEPT_LIVE], self._views[-KEPT_LIVE:]
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="taskloom-cluster-views", daemon=True)
                self._thread.start()
        for view in old:
            view.close()

    def _look(self) -> None:
        """Look at the clusters from time to time, as long as there is any to look at."""
        while not self._closed.wait(LOOK_EVERY):
            for view in list(self._views):
                view.update()
            with self._lock:
                self._views = [view for view in self._views if not view.is_over]
                if not self._views:
                    self._thread = None
                    return


def _picture(state: ClusterState) -> MimeBundle:
    from taskloom.notebook.cluster_state import cluster_html, cluster_text

    return {"text/html": cluster_html(state), "text/plain": cluster_text(state)}
