"""Where events are kept while the queue does not take them: on this host's disk, in front of the queue."""
