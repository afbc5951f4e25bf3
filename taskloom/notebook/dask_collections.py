"""Dask's collections run on taskloom's engines while the extension is loaded."""

from __future__ import annotations

from taskloom.adapters.dask import disable_dask, enable_dask_when_imported


class Dask:
    """Enables Dask as soon as it is imported, for as long as this is open."""

    def __init__(self) -> None:
        enable_dask_when_imported()

    def close(self) -> None:
        disable_dask()
