"""Threads in which a store is asked, since clients block and the event loop must not."""
