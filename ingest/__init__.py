"""Left of the queue: an HTTP call of a portal becomes a record in the queue."""
