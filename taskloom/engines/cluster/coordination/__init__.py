"""What clients share beside tasks: locks, events, queues, variables, datasets and topics. A pure state machine."""
