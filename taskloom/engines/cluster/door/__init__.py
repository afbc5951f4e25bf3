"""How other processes of the same user get in: a private directory, a handshake, and messages over a socket."""
