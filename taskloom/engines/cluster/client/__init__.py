"""What a user holds of a cluster: the client and its futures, and what becomes of them."""
