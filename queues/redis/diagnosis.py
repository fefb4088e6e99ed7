"""What `doctor` looks at in a Redis server."""

from collections.abc import Iterable

from forebay.queues.findings import Finding, Needs

from .. import looks
from .address import Address
from .connection import RedisConnection
from .server import OLDEST, Server

#: Of the memory that the server may take, what should be free at least.
_FREE = 0.2

_MIB = 1024 * 1024


def findings(connection: RedisConnection, address: Address, needs: Needs) -> Iterable[Finding]:
    """One thing after the other."""
    server = connection.look()
    yield looks.version(server.name, server.version, OLDEST)
    yield _durability(server, address)
    yield _memory(server)
    yield _size(server, needs)
    yield _replicas(server, address)
    yield looks.connections(server.clients_left, "maxclients", "five")


def _durability(server: Server, address: Address) -> Finding:
    check = "queue durability"
    if fault := server.fsync_fault(address):
        return Finding(check=check, state="fail", detail=f"the server {fault}", remedy="docs/redis.md")
    if fault := server.making_fault(address):
        return Finding(check=check, state="fail", detail=f"the server {fault}", remedy="wait: INFO persistence tells")
    if server.write_error:
        remedy = "make room on its disk; look at its log"
        return Finding(check=check, state="fail", detail="the server's last write to its disk failed", remedy=remedy)
    if address.fsync == "always":
        return Finding(check=check, state="ok", detail="what is answered is on the server's disk")
    lost = "a power cut loses the last second" if address.fsync == "everysec" else "a crash loses events"
    detail = f"fsync={address.fsync} is relied on: {lost} that had been answered"
    remedy = "appendonly yes and appendfsync always at the server, and no fsync= in queue_url"
    return Finding(check=check, state="warn", detail=detail, remedy=remedy)


def _memory(server: Server) -> Finding:
    check = "queue memory"
    if server.evicts:
        detail = f"maxmemory-policy {server.eviction}: it deletes events when its memory is full"
        return Finding(check=check, state="fail", detail=detail, remedy="set maxmemory-policy noeviction")
    if not server.memory_limit:
        remedy = "set maxmemory below the machine's memory: then events are refused, and wait in the spool"
        detail = "no maxmemory: when the machine's memory is full, the server is killed"
        return Finding(check=check, state="warn", detail=detail, remedy=remedy)
    used, limit = server.memory_bytes // _MIB, server.memory_limit // _MIB
    if server.memory_bytes > server.memory_limit * (1 - _FREE):
        remedy = "raise maxmemory, or lower retention_h"
        return Finding(check=check, state="warn", detail=f"{used} of {limit} MiB are used", remedy=remedy)
    return Finding(check=check, state="ok", detail=f"{used} of {limit} MiB are used, and nothing is evicted")


def _size(server: Server, needs: Needs) -> Finding:
    check, most = "queue size", server.limits.record
    if needs.record_bytes > most:
        detail = f"records of {needs.record_bytes} bytes may come; the server lets {most} through"
        limits = "proto-max-bulk-len, client-query-buffer-limit and client-output-buffer-limit (normal)"
        return Finding(check=check, state="fail", detail=detail, remedy=f"raise {limits}, or lower max_body_bytes")
    return Finding(check=check, state="ok", detail=f"records of {needs.record_bytes} bytes may come, and pass")


def _replicas(server: Server, address: Address) -> Finding:
    check, wanted = "queue replicas", address.replicas
    if server.replicas < wanted:
        detail = f"{server.replicas} are connected, replicas={wanted} is relied on: nothing is taken until they come"
        return Finding(check=check, state="fail", detail=detail, remedy="look at the replicas, or at queue_url")
    if server.replicas > wanted:
        waited_for = f"{wanted} of them waited for" if wanted else "not waited for"
        detail = f"{server.replicas} are connected, and {waited_for}: one that takes over may lack events"
        remedy = f"replicas={server.replicas} in queue_url, unless the others never take over (replica-priority 0)"
        return Finding(check=check, state="warn", detail=detail, remedy=remedy)
    told = f"each event is on all {wanted} before it counts as kept" if wanted else "there are none"
    return Finding(check=check, state="ok", detail=told)
