"""What is to be done as soon as a library is imported, by whomever."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import ModuleType

Undo = list[Callable[[], None]]

_listing = Lock()  # while finders come and go


class AtImport(MetaPathFinder):
    """Calls a function once a module has been imported, if it is armed by then.

    What goes wrong there is warned of: whoever imports the module has no part in it.

    Parameters
    ----------
    name : of the module.
    action : is called without arguments.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action
        self._wanted = False
        self._underway = False  # whether the module is being imported

    def arm(self) -> None:
        """Wait for the import, or for its end; where the module is there already, do it now."""
        self._wanted = True
        if self._underway:
            return
        if self._name in sys.modules:
            self._act()
        else:
            with _listing:
                if self not in sys.meta_path:
                    sys.meta_path.insert(0, self)

    def disarm(self) -> None:
        """Wait no more."""
        self._wanted = False
        with _listing:
            if self in sys.meta_path:
                sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the module is, as the others know it. Many ask who do not import it."""
        if fullname != self._name:
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            self._underway = True
            try:
                execute(module)
            finally:
                self._underway = False
            if self._wanted:
                self.disarm()
                self._act()

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec

    def _act(self) -> None:
        try:
            self._action()
        except Exception as error:
            with suppress(RuntimeWarning):  # where warnings are errors: the module can be imported all the same
                warnings.warn(f"taskloom leaves {self._name} alone: {error}", RuntimeWarning, stacklevel=2)


def once_imported(name: str, change: Callable[[Undo], None]) -> Callable[[], None]:
    """Change something as soon as a module has been imported; returns the undoing, which also waits no more.

    Parameters
    ----------
    name : of the module.
    change : is called with a list, to which it adds what undoes it.
    """
    undo: Undo = []
    waiting = AtImport(name, lambda: change(undo))
    waiting.arm()

    def undo_all() -> None:
        waiting.disarm()
        while undo:
            undo.pop()()

    return undo_all
