"""A JupyterLab and a browser for the tests of this folder.

Both are started once. They live only as long as these tests, because Playwright's synchronous interface keeps an event
loop running in the main thread, which other tests would notice.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import Lab, NoChromium, Notebook, start_browser, start_lab


@pytest.fixture(scope="package")
def browser() -> Iterator[object]:
    pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    try:
        with start_browser() as browser:
            yield browser
    except NoChromium as error:
        pytest.skip(f"the browser test {error}")


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("jupyterlab", reason="the browser tests need jupyterlab")
    with start_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


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
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that is there once the test has made it, or has ended: what naps until then lasts as long as is wanted."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


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
