"""Right of the queue: a record becomes a call of a handler, then a commit."""
