"""What the coordinator decides: a pure state machine. Events in, messages out; no clock, no socket, no thread."""
