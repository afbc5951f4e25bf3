"""Lazy collections, which follow Dask's collection protocol, and what they have in common."""
