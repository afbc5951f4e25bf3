"""Makes the README's pictures of the views, docs/*.png, from the notebook on watching a run.

Run it after a change to a view, and look at the results:

    .venv/bin/python tests/browser/make_pictures.py

Nothing in them is staged: JupyterLab runs the notebook of this checkout in Chromium, in its dark theme where that is
asked for, and the outputs are photographed.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from lab import Notebook, start_browser, start_lab

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
NOTEBOOK = CHECKOUT / "notebooks" / "03_watching_a_run.ipynb"
PAGE = {"viewport": {"width": 1100, "height": 1000}, "device_scale_factor": 1.5}
#: picture -> the cell that makes it, what is in its output, and the theme
PICTURES = {
    "graph": ("%%graph\ntable", ".taskloom-graph", "JupyterLab Light"),
    "dashboard": ("%dashboard", ".taskloom-dashboard", "JupyterLab Dark"),
    "scheduler": ("%scheduler", ".taskloom-scheduler", "JupyterLab Light"),
    "compare": ("%%compare", ".jp-OutputArea-output", "JupyterLab Light"),
}
RUN_ALL = """
async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.sessionContext.ready;
    await jupyterapp.commands.execute("notebook:run-all-cells");
    panel.content.activeCellIndex = 0;  // the active cell has a frame of its own
}
"""
SETTLED = 1000  # milliseconds in which a figure that is scrolled into view is drawn


def photograph(notebook: Notebook, name: str, source: str, selector: str) -> None:
    """Take the picture of a cell's output."""
    cell: Any = notebook.page.locator(".jp-CodeCell", has_text=source.splitlines()[0]).first
    output = cell.locator(selector).last
    output.scroll_into_view_if_needed()
    notebook.page.wait_for_timeout(SETTLED)
    output.screenshot(path=DOCS / f"{name}.png")
    print(f"docs/{name}.png: {(DOCS / f'{name}.png').stat().st_size / 1000:.0f} kB")


def main() -> None:
    with tempfile.TemporaryDirectory() as home, start_lab(Path(home)) as lab, start_browser() as lab.browser:
        for theme in dict.fromkeys(theme for _, _, theme in PICTURES.values()):
            notebook = lab.open(Path(shutil.copy(NOTEBOOK, lab.folder)), theme, **PAGE)
            notebook.page.evaluate(RUN_ALL)
            notebook.page.wait_for_timeout(3 * SETTLED)  # views of runs that have just ended come to rest
            for name, (source, selector, of_theme) in PICTURES.items():
                if of_theme == theme:
                    photograph(notebook, name, source, selector)
            notebook.close()


if __name__ == "__main__":
    main()
