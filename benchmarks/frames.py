"""``python -m benchmarks.frames SECONDS``: frames a second of a page that shows the dashboard of a run that goes on.

Prints nothing where there is no Chromium to ask.
"""

from __future__ import annotations

import shutil
import sys
import threading
from time import perf_counter

import taskloom
from taskloom.notebook.dashboard_server import DashboardServer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]
COUNT = """async (seconds) => {
    const begun = performance.now();
    let frames = 0;
    while (performance.now() - begun < 1000 * seconds) {
        await new Promise(requestAnimationFrame);
        frames++;
    }
    return 1000 * frames / (performance.now() - begun);
}"""


def main(seconds: float) -> None:
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if chromium is None:
        return
    server = DashboardServer()
    running = threading.Thread(target=_run_until_cancelled)
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=chromium, args=OPTIONS).new_page()
        page.goto(server.link)
        running.start()
        page.locator("canvas").first.wait_for()
        print(page.evaluate(COUNT, seconds))
    run = taskloom.last_run()
    assert run is not None
    run.cancel()
    running.join()
    server.close()


def _run_until_cancelled() -> None:
    graph = {(f"load-{i % 5}", i): (_spin, 2e-4) for i in range(500_000)}
    try:
        taskloom.threaded.get(graph, list(graph), num_workers=2)
    except KeyboardInterrupt:
        pass


def _spin(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


if __name__ == "__main__":
    main(float(sys.argv[1]))
