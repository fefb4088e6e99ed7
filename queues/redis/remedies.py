"""What Redis refuses, and what to do about it."""

from ..strictness import LACKING

#: What leads to the primary is the administrator's: a name, or a balancer that asks each server for its role.
SENTINEL = "a Sentinel, which keeps nothing: queue_url must lead to the primary that it watches over (docs/redis.md)"

_CLUSTER = "it is a node of a Redis Cluster, which has streams on others; that is not supported: name a single server"

_RIGHTS = "give the user what docs/redis.md lists: the keys, the channels and the commands"

#: Words of the server, or of the client, or what the client calls the error → what to do.
_BY_WORDS = {
    "OutOfMemoryError": "its memory is full: raise maxmemory, or let workers finish what waits; nothing is lost",
    "MISCONF": "it can't write to its disk: make room, look at its log; nothing that was answered is lost",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write): look at them",
    "ReadOnlyError": "it is a replica: name the primary in queue_url",
    "BusyLoadingError": "wait; it reads its file after a start, and we connect again by ourselves",
    "BUSY": "wait; a script of somebody runs for long",
    "AuthenticationError: Authentication required": "put user and password into queue_url",
    "invalid username-password pair": "check user and password in queue_url",
    "without any password configured": "leave the password out of queue_url, or set one at the server",
    "AuthenticationError": "check user and password in queue_url",
    "NoPermissionError": _RIGHTS,
    "The user executing the script can't": _RIGHTS,
    "ACL failure in script": _RIGHTS,
    "MovedError": _CLUSTER,
    "ClusterDownError": _CLUSTER,
    "CrossSlotError": _CLUSTER,
    # Of all servers it alone has no databases to choose from.
    "unknown command 'SELECT'": f"it is {SENTINEL}",
    "DB index is out of range": "the number after the last / of queue_url is too high: see `databases` at the server",
    "max number of clients": "raise maxclients: an ingest process takes one connection, a worker five",
    **LACKING,
    "certificate verify failed": "check ssl_ca in queue_url against the server's certificate, and the host's name",
    "WRONG_VERSION_NUMBER": "the server speaks no TLS on this port: write redis://, or name its TLS port",
    "No such file": "check the files that queue_url names",
    "Connection refused": "check that Redis runs, host and port in queue_url, and bind",
    "Name or service not known": "check the host in queue_url",
    # A server without TLS waits for the rest of what it takes for a command.
    "Timeout connecting": "check host and port in queue_url, the firewalls in between, and that rediss:// is for a TLS "
    "port",
    "Timeout reading": "it hangs, or its disk does: look at its log; we connect again by ourselves",
    "Connection closed by server": "we connect again by ourselves; its log says why",
    "Connection reset": "we connect again by ourselves; its log says why",
    "Protected mode": "set a password, or bind it to an address that only we reach (protected-mode)",
}

_OTHERWISE = "look at queue_url, and at the server's log"


def remedy(name: str, error: BaseException) -> str:
    """The server's words, which never hold a password, and what to do. `name` is the database's."""
    words = " ".join(str(error).split()).rstrip(".")
    looked_at = f"{type(error).__name__}: {words}"
    told = next((found for said, found in _BY_WORDS.items() if said in looked_at), _OTHERWISE)
    return f"{name} says: {words}; {told}"
