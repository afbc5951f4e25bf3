"""A real JupyterLab on the loopback interface, and a real browser that looks at it.

Both are started once. They live only as long as the tests of this folder, because Playwright's synchronous interface
keeps an event loop running in the main thread, which other tests would notice.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import Lab, Notebook

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
STARTUP_SECONDS = 60


@pytest.fixture(scope="package")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        pytest.skip(f"the browser tests need one of {', '.join(CHROMIUM_NAMES)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("jupyterlab", reason="the browser tests need jupyterlab")
    home = tmp_path_factory.mktemp("lab")
    notebooks = home / "notebooks"
    notebooks.mkdir()
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    _set(home, "apputils-extension/notification", {"checkForUpdates": False, "fetchNews": "false"})
    _set(home, "notebook-extension/tracker", {"windowingMode": "none"})  # all cells are in the document
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={notebooks}"),
                *(f"--IdentityProvider.token={token}", "--LabApp.news_url=None"),
            ],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Lab(_address(server, home), token, notebooks, home)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _set(home: Path, plugin: str, settings: dict[str, object]) -> None:
    file = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings))


def _address(server: "subprocess.Popen[bytes]", home: Path) -> str:
    """Wait until the server says where it is."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        for file in (home / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(file.read_text())["url"])
            except ValueError:
                pass  # being written
        time.sleep(0.05)
    pytest.fail("JupyterLab did not start:\n" + (home / "server.log").read_text())


@pytest.fixture(scope="module")
def lab(lab_server: Lab, browser: object) -> Iterator[Lab]:
    """Opens notebooks in pages of their own, and closes them."""
    lab_server.browser = browser
    yield lab_server
    while lab_server.opened:
        lab_server.opened.pop().close()


@pytest.fixture(scope="module")
def shared_notebook(lab: Lab) -> Notebook:
    return lab.open()


@pytest.fixture
def notebook(lab: Lab, shared_notebook: Notebook) -> Iterator[Notebook]:
    """A notebook with the extension loaded, shared by a module's tests: each adds cells at its end.

    Fails the test if a page logged an error or asked another host for something.
    """
    shared_notebook.run("%load_ext taskloom")
    yield shared_notebook
    shared_notebook.interrupt()
    problems = [problem for notebook in lab.opened for problem in notebook.problems]
    for opened in lab.opened:
        opened.problems.clear()
    assert not problems
