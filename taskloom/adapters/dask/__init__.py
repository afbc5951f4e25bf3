"""Dask on taskloom."""
