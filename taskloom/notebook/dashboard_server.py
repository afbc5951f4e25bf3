"""``%dashboard --serve``: the dashboard in a browser tab of its own, behind a link that only its reader has."""

from __future__ import annotations

import atexit
import os

from taskloom import bus, config
from taskloom.notebook.frontend import page_source
from taskloom.views.figures.served import ADDRESS, ServedDashboard


class DashboardServer:
    """The server of a kernel. `link` is what to open.

    Parameters
    ----------
    port : where to serve; 0 for any.
    """

    def __init__(self, port: int = 0) -> None:
        script, style = (page_source("bokeh", "served", suffix=suffix) for suffix in ("js", "css"))
        self._served = ServedDashboard(bus.last_run(), script, style, dashboard_link, port)
        self._subscription = bus.subscribe(self._served)
        atexit.register(self.close)
        self.link = self._served.link

    def close(self) -> None:
        """Stop serving: the link leads nowhere from then on."""
        atexit.unregister(self.close)
        self._subscription.close()
        self._served.close()


def dashboard_link(port: int, token: str) -> str:
    """The address of a dashboard as its reader's browser must ask for it.

    That is the setting ``notebook.dashboard_link`` where there is one. In a JupyterHub it leads through
    jupyter-server-proxy, and elsewhere straight to the port.

    Examples
    --------
    >>> from taskloom import config
    >>> with config.set({"notebook.dashboard_link": "https://example.org/proxy/{port}/?token={token}"}):
    ...     dashboard_link(8787, "secret")
    'https://example.org/proxy/8787/?token=secret'
    """
    template = config.get("notebook.dashboard_link")
    if template is None:
        hub = os.environ.get("JUPYTERHUB_PUBLIC_URL") or os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
        base = f"{hub.rstrip('/')}/proxy/{port}" if hub else f"http://{ADDRESS}:{port}"
        return f"{base}/?token={token}"
    return str(template).replace("{port}", str(port)).replace("{token}", token)
