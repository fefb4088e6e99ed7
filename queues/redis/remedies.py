"""What Redis refuses, and what to do about it."""

#: Words of the server, or of the client → what to do.
_BY_WORDS = {
    "OOM command not allowed": "its memory is full: raise maxmemory, or let workers finish what waits; nothing is lost",
    "MISCONF": "it can't write to its disk: make room, look at its log; nothing that was answered is lost",
    "NOREPLICAS": "too few replicas are connected (min-replicas-to-write): look at them",
    "READONLY": "it is a replica: name the primary in queue_url",
    "LOADING": "wait; it reads its file after a start, and we connect again by ourselves",
    "BUSY": "wait; a script of somebody runs for long",
    "NOAUTH": "put user and password into queue_url",
    "WRONGPASS": "check user and password in queue_url",
    "invalid username-password pair": "check user and password in queue_url",
    "without any password configured": "leave the password out of queue_url, or set one at the server",
    "NOPERM": "give the user the rights of docs/redis.md: ~forebay:* &forebay:* and the commands that it lists",
    "MOVED": "it is a Redis Cluster, which is not supported: name a single server",
    "CLUSTERDOWN": "it is a Redis Cluster, which is not supported: name a single server",
    "CROSSSLOT": "it is a Redis Cluster, which is not supported: name a single server",
    "DB index is out of range": "the number after the last / of queue_url is too high: see `databases` at the server",
    "max number of clients": "raise maxclients: an ingest process takes one connection, a worker five",
    "certificate verify failed": "check ssl_ca in queue_url against the server's certificate, and the host's name",
    "WRONG_VERSION_NUMBER": "the server speaks no TLS on this port: write redis://, or name its TLS port",
    "Connection refused": "check that Redis runs, host and port in queue_url, and bind",
    "Name or service not known": "check the host in queue_url",
    "Timeout connecting": "check host and port in queue_url, and the firewalls in between",
    "Timeout reading": "it hangs, or its disk does: look at its log; we connect again by ourselves",
    "Connection closed by server": "we connect again by ourselves; its log says why",
    "Connection reset": "we connect again by ourselves; its log says why",
    "Protected mode": "set a password, or bind it to an address that only we reach (protected-mode)",
}

_OTHERWISE = "look at queue_url, and at the server's log"


def remedy(name: str, error: BaseException) -> str:
    """The server's words, which never hold a password, and what to do. `name` is the database's."""
    words = " ".join(str(error).split()).rstrip(".")
    told = next((found for said, found in _BY_WORDS.items() if said in words), _OTHERWISE)
    return f"{name} says: {words}; {told}"
