"""The language: what crosses the queue, and the names that both sides must agree on."""
