"""A connection to a server, and the store that makes them."""

from collections.abc import Collection, Mapping
from typing import Any

from pymemcache.client.base import Client
from pymemcache.exceptions import (
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
)

from ..threads.connection_thread import ConnectionThread, Lives
from ..threads.sockets import has_come
from .address import Address

#: Seconds within which a server must answer the connection, and each question.
_CONNECT_S = 5.0
_ANSWER_S = 5.0

#: Bytes of an item that are not the value: key, lengths, and what the server adds.
_AROUND_BYTES = 512

_REMEDIES = {
    "out of memory": "its memory is full, and it may not evict (-M): raise -m, or let workers finish what waits",
    "too large": "raise its item size (-I)",
    "Connection refused": "check that Memcached runs, host and port in queue_url, and -l",
    "Name or service not known": "check the host in queue_url",
    "UnexpectedClose": "it has ended, or hung up; what it held is gone if it ended",
    "timed out": "it hangs, or something in between does, or it takes no more connections (-c); we connect again",
    # So it answers whatever comes first. The client keeps nothing of its words.
    "unknown to it": "it takes no more connections: raise -c; or it is no Memcached that answers there",
}

#: A value with what the server wants to see again to change it: None for neither.
Seen = tuple[bytes | None, bytes | None]


class MemcachedConnection:
    """One connection, used by one thread."""

    def __init__(self, address: Address) -> None:
        where = (address.host, address.port)
        self._client: Any = Client(
            where, connect_timeout=_CONNECT_S, timeout=_ANSWER_S, no_delay=True, default_noreply=False
        )
        stats = self._client.stats()
        self.version = stats[b"version"].decode()
        self.clients_left = int(stats[b"max_connections"]) - int(stats[b"curr_connections"])
        self.memory_bytes, self.memory_limit = int(stats[b"bytes"]), int(stats[b"limit_maxbytes"])
        self.evictions = int(stats[b"evictions"])
        self.record_bytes = int(self._client.stats("settings")[b"item_size_max"]) - _AROUND_BYTES

    def get(self, keys: Collection[str]) -> dict[str, bytes]:
        """Those of these items that are there."""
        found: dict[str, bytes] = self._client.get_many(list(keys))
        return found

    def gets(self, key: str) -> Seen:
        """An item, to be changed by `swap`."""
        seen: Seen = self._client.gets(key)
        return seen

    def add(self, key: str, value: bytes, expire_s: int = 0) -> bool:
        """Make this item. False when it is there."""
        return bool(self._client.add(key, value, expire_s))

    def swap(self, key: str, value: bytes, seen: Seen, expire_s: int = 0) -> bool:
        """Change the item, or make it if it was not there. False when it is not any more what was seen."""
        if seen[1] is None:
            return self.add(key, value, expire_s)
        return bool(self._client.cas(key, value, seen[1], expire_s))

    def put(self, items: Mapping[str, bytes], expire_s: int = 0) -> None:
        """Write these items, in this order, whatever was there.

        Where the server says no to one of them all answers are heard first: what is asked then comes behind the others.
        """
        # The client would hang up at the first no, and another connection could come before what it has sent.
        self._client.sock.sendall(b"".join(_set(key, value, expire_s) for key, value in items.items()))
        with self._client.sock.makefile("rb") as answers:
            told = [answers.readline() for _ in items]
        if b"" in told:
            raise MemcacheUnexpectedCloseError
        if refusals := [one for one in told if one != b"STORED\r\n"]:
            raise MemcacheServerError(refusals[0].partition(b" ")[2].strip())

    def count(self, key: str, more: int) -> int | None:
        """Add to a counter; None when there is none."""
        found: int | None = self._client.incr(key, more)
        return found

    def drop(self, keys: Collection[str]) -> None:
        """Delete these items."""
        if keys:
            self._client.delete_many(list(keys))

    def lives(self) -> bool:
        """Whether the server has not hung up: it says nothing unless it was asked."""
        return self._client.sock is not None and not has_come(self._client.sock.fileno())

    def close(self) -> None:
        """Let go of it."""
        self._client.close()


def _set(key: str, value: bytes, expire_s: int) -> bytes:
    return b"set %b 0 %d %d\r\n%b\r\n" % (key.encode(), expire_s, len(value), value)


class MemcachedStore:
    """One server."""

    errors: tuple[type[Exception], ...] = (MemcacheError, OSError)

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def name(self) -> str:
        """As in the protocol, and so are the next three."""
        return self.address.name

    def connect(self) -> MemcachedConnection:
        """Whatever it is set to."""
        return MemcachedConnection(self.address)

    def current(self, connection: MemcachedConnection) -> bool:
        """A server that went away while we did nothing has said so to the socket."""
        return connection.lives()

    def remedy(self, error: Exception) -> str:
        """The server's words, and what to do."""
        given = error.args[0] if error.args and isinstance(error.args[0], bytes) else None
        words = given.decode("ascii", "replace") if given else str(error) or type(error).__name__
        if isinstance(error, MemcacheUnknownCommandError):
            words = f"{words} is unknown to it"
        told = next((found for said, found in _REMEDIES.items() if said in words), None)
        return f"{self.name} says: {words}; {told or 'look at queue_url, and at the server'}"

    def thread(self, name: str, lives: Lives | None = None) -> ConnectionThread[MemcachedConnection]:
        """A thread with a connection of its own."""
        return ConnectionThread(self, name, errors=self.errors, lives=lives)
