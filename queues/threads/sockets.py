"""Looking at a socket, also of a client that has no way to do so."""

import select


def has_come(descriptor: int, within_s: float = 0.0) -> bool:
    """Whether something came within the time; that the other side has hung up is something, too."""
    # Not `select`, which takes no descriptor beyond 1,023: an ingest has one for each call.
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(within_s * 1000))
