"""Makes docs/quickstart.png, the README's picture: the quickstart's main question, its run half way.

Run it after a change to the bar or to the quickstart, and look at the result:

    .venv/bin/python tests/browser/make_picture.py

Nothing in it is staged: JupyterLab runs the notebook of this checkout in Chromium, and when half of the tasks are done
the page is photographed, from the cell that plans the question to the bar below the cell that asks it.
"""

import shutil
import tempfile
from pathlib import Path

from lab import Notebook, start_browser, start_lab

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOK = CHECKOUT / "notebooks" / "01_quickstart.ipynb"
PICTURE = CHECKOUT / "docs" / "quickstart.png"
PLAN, ASK = "questions = {", "taskloom.compute(questions)"  # what two cells have in their source
MARGIN = 4  # pixels around the cells
PAGE = {"viewport": {"width": 1000, "height": 900}, "device_scale_factor": 2}

RUN_TO_CELL = """
async (text) => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.sessionContext.ready;
    const notebook = panel.content;
    notebook.activeCellIndex = notebook.widgets.findIndex((cell) => cell.model.sharedModel.getSource().includes(text));
    await jupyterapp.commands.execute("notebook:run-all-above");
    jupyterapp.commands.execute("notebook:run-cell");
    notebook.activeCellIndex = 0;  // the active cell has a frame of its own
}
"""
HALF_WAY = """
() => {
    const bar = document.querySelector(".taskloom-progress-live [role=progressbar]");
    return bar && 2 * bar.ariaValueNow >= bar.ariaValueMax;
}
"""


def photograph(notebook: Notebook) -> str:
    """Run the notebook up to the question and take the picture in mid-run. Gives the bar's figures."""
    page = notebook.page
    plan, ask = (page.locator(".jp-CodeCell", has_text=text).first for text in (PLAN, ASK))
    page.evaluate(RUN_TO_CELL, ASK)
    page.wait_for_function(HALF_WAY)
    plan.scroll_into_view_if_needed()
    top, bottom = plan.bounding_box(), ask.bounding_box()
    height = bottom["y"] + bottom["height"] - top["y"]
    clip = {"x": top["x"], "y": top["y"] - MARGIN, "width": top["width"], "height": height + 2 * MARGIN}
    page.screenshot(path=PICTURE, clip=clip)
    return str(ask.locator(".taskloom-progress-count").inner_text())


def main() -> None:
    PICTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, start_lab(Path(home)) as lab, start_browser() as lab.browser:
        notebook = lab.open(Path(shutil.copy(NOTEBOOK, lab.folder)), **PAGE)
        figures = photograph(notebook)
        notebook.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB, taken before {figures} tasks were done")


if __name__ == "__main__":
    main()
