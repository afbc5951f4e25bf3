"""A shell with the extension loaded, whose prompt is answered by the test."""

import builtins
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "engines"))
child_engine = import_module("child_engine")
sys.path.pop()


class Session:
    """A shell, as a person types into it."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.answers: list[str] = []
        self.prompts: list[str] = []
        self.result: object = None
        self._screen = io.StringIO()  # not capsys, whose stream is another one in each phase of a test

    def ask(self, prompt: str = "") -> str:
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        print(f"{prompt}{answer}")
        return answer

    def run(self, cell: str, *answers: str) -> str:
        """Run a cell, whose prompts get these answers, all of them; returns what it printed."""
        self.answers[:] = answers
        self.prompts.clear()
        before = len(self._screen.getvalue())
        with redirect_stdout(self._screen), redirect_stderr(self._screen):
            self.result = self.shell.run_cell(cell).result
        assert not self.answers, "nobody asked for these"
        return self._screen.getvalue()[before:]


@pytest.fixture(scope="session")
def resource_tracker_runs() -> None:
    """Started by the first pool of processes, and there to the end: it is none that a test leaves behind."""
    resource_tracker.ensure_running()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, resource_tracker_runs: None) -> Iterator[Session]:
    """IPython with the extension, and an engine ``"child"`` that runs tasks in another process."""
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance(colors="nocolor")
    shell.history_manager.enabled = False
    session = Session(shell)
    monkeypatch.setattr(builtins, "input", session.ask)
    with child_engine.child_engine():
        session.run("%load_ext taskloom")
        yield session
    session.run("%unload_ext taskloom")
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell() -> Iterator[Any]:
    """IPython as in a terminal, with the extension."""
    shell_module = pytest.importorskip("IPython.core.interactiveshell")
    shell = shell_module.InteractiveShell()
    shell.history_manager.enabled = False
    shell.extension_manager.load_extension("taskloom")
    yield shell
    shell.extension_manager.unload_extension("taskloom")
    shell.history_manager.end_session()
