"""A cluster on one machine: workers that keep results between calls, a coordinator that places tasks, and clients.

The workers are processes, or threads of this one; both are spoken to by the same messages.
"""
