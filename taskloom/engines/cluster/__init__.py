"""A cluster on one machine: workers that keep results between calls, a coordinator that places tasks, and clients.

client/       futures, and calls and graphs on their way to a cluster, recorded on the bus
coordinator/  the thread between clients, scheduler and workers
scheduler/    which task runs where and when: a pure state machine
worker/       what runs tasks and holds their results
door/         how clients in other processes get in
"""
