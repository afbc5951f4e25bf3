"""The example of a view of one's own is true: it runs, and shows what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bokeh")

PAGE = Path(__file__).parents[2] / "docs" / "own_view.md"


def test_the_documented_example_runs() -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert sum(names["view"].source.data["tasks"]) == 1000
    assert names["html"].lstrip().startswith("<!DOCTYPE html>")
    for title in ("Tasks by worker", "Profile: time in tasks by function", "How long tasks take"):
        assert title in names["html"]


def test_it_is_short() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    assert len(example[1].splitlines()) <= 40
