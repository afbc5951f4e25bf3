"""A worker process: what runs in it, how it is spoken to, and the set of them that a process owns.

Nothing here knows of a call, a graph or an engine: a worker is told which functions to call with which slots.
"""

inside = False  #: whether this process is a worker
