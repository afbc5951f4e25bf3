"""The front-end files: found, self-contained, and tested where Node is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from taskloom.notebook.frontend import widget_source

WIDGETS = Path(__file__).parents[2] / "widgets"


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"widgets/wheel/wheel\.js is missing"):
        widget_source("wheel", "js")


@pytest.mark.parametrize("suffix", ["js", "css"])
@pytest.mark.parametrize("name", [folder.name for folder in WIDGETS.iterdir() if folder.is_dir()])
def test_widgets_need_nothing_from_outside(name: str, suffix: str) -> None:
    source = widget_source(name, suffix)
    assert "://" not in source
    assert "@import" not in source


def test_widgets_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("the widgets' own tests need Node.js")
    result = subprocess.run([node, "--test", str(WIDGETS)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "# pass 0" not in result.stdout
