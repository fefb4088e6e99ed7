"""The queue in a Memcached: one item a record, which may be gone at any time, and then is told as gone."""
