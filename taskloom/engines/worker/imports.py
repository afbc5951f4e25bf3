"""Whether code is in the midst of an import, where it must not be stopped.

What an import that is stopped leaves behind cannot be imported a second time: a package whose submodules are there,
but not its own names. The process would be broken for all tasks that come after.
"""

from __future__ import annotations

from types import FrameType

_IMPORTING = "<frozen importlib._bootstrap>"  # the file name of the code that runs modules


def importing(frame: FrameType | None) -> bool:
    """Whether a frame, or one that it was called from, runs a module that is being imported.

    >>> import sys
    >>> importing(sys._getframe())
    False
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
