"""That what waited in a queue was moved to another one, as it stands in the queue itself."""
