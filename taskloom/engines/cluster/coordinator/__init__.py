"""The thread that has the scheduler, and what it brings together: workers, clients, and the messages between them."""
