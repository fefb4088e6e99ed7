"""The queue in a Redis server: a Redis stream for each partition, leases and offsets beside it."""
