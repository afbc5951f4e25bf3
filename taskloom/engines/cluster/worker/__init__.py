"""A worker: what runs in its process or threads, and how the coordinator sees it."""
