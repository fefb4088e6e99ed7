"""What `doctor` looks at in a Memcached server."""

from collections.abc import Iterable

from forebay.queues.findings import Finding, Needs

from .. import looks
from .connection import MemcachedConnection

#: The first with all that we use.
_OLDEST = (1, 6)

_MIB = 1024 * 1024


def findings(connection: MemcachedConnection, needs: Needs) -> Iterable[Finding]:
    """One thing after the other."""
    yield looks.version(f"Memcached {connection.version}", connection.version, _OLDEST)
    yield Finding(
        check="queue durability",
        state="warn",
        detail="it keeps nothing when it ends, and evicts what it has no room for: events that were answered are lost",
        remedy="any other queue: docs/queues.md",
    )
    yield _memory(connection)
    yield _items(connection, needs)
    yield looks.connections(connection.clients_left, "-c")


def _memory(connection: MemcachedConnection) -> Finding:
    used, limit = connection.memory_bytes // _MIB, connection.memory_limit // _MIB
    if connection.evictions:
        detail = f"{connection.evictions} items were evicted since it was started; {used} of {limit} MiB are used"
        return Finding(check="queue memory", state="warn", detail=detail, remedy="raise -m; a server of its own")
    return Finding(check="queue memory", state="ok", detail=f"nothing was evicted; {used} of {limit} MiB are used")


def _items(connection: MemcachedConnection, needs: Needs) -> Finding:
    most = connection.record_bytes
    if needs.record_bytes > most:
        detail = f"an item has {most} bytes at most, an event {needs.record_bytes} (max_body_bytes)"
        return Finding(check="queue items", state="warn", detail=detail, remedy="raise -I, or lower max_body_bytes")
    return Finding(check="queue items", state="ok", detail=f"an item has {most} bytes at most")
