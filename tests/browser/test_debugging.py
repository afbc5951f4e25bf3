"""The debugger's prompt as a person sees it, in JupyterLab, on each engine."""

from pathlib import Path

import pytest

from .lab import Notebook

ENGINES = Path(__file__).parents[1] / "engines"

SETUP = f"""
import sys, taskloom
sys.path.append({str(ENGINES)!r})
import child_engine
sys.path.pop()
taskloom.engines.ENGINES["child"] = child_engine.ChildEngine()
def divide(late, flown):
    return late / flown
def share(late, flown):
    percent = 100
    return percent * divide(late, flown)
"""


def type_at_prompt(notebook: Notebook, cell, command: str, shown: str) -> None:
    """Type a command into the prompt of a cell and wait for what it prints."""
    prompt = cell.locator(".jp-Stdin-input")
    prompt.wait_for()
    handle = prompt.element_handle()
    prompt.fill(command)
    prompt.press("Enter")
    handle.wait_for_element_state("hidden")  # the next prompt is another element
    if shown:
        cell.locator(".jp-OutputArea-output", has_text=shown).first.wait_for()


def session(notebook: Notebook, cell) -> None:
    type_at_prompt(notebook, cell, "p late * 6", "42")
    type_at_prompt(notebook, cell, "up", "share")
    type_at_prompt(notebook, cell, "p percent + 23", "123")
    type_at_prompt(notebook, cell, "q", "")
    notebook.wait(cell)
    assert notebook.run("print('fine')").locator(".jp-OutputArea-output").inner_text().strip() == "fine"


@pytest.mark.parametrize("engine", ["sync", "threads", "child", "processes"])
def test_pdb_opens_in_the_task(notebook: Notebook, engine: str) -> None:
    notebook.run(SETUP)
    notebook.run("%pdb on")
    cell = notebook.start(f"taskloom.compute(taskloom.delayed(share)(7, 0), scheduler={engine!r})")
    session(notebook, cell)
    notebook.run("%pdb off")


def test_replay(notebook: Notebook) -> None:
    notebook.run(SETUP)
    notebook.run("taskloom.compute(taskloom.delayed(share)(7, 0))")
    session(notebook, notebook.start("%replay"))
