"""What a server keeps: it is looked at with each new connection, before anything is entrusted to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.queues.errors import QueueError, QueueUnavailable

from ..looks import is_at_least
from .address import FSYNC, Address
from .limits import Limits, limits
from .remedies import SENTINEL

#: Older ones don't look whether a script can be done before they begin with it.
OLDEST = (7, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The settings that we depend on."""

    #: The version of Redis that it is, or that it is as.
    version: str
    #: What it calls itself.
    name: str
    #: Whether it still reads its file after a start, and until then doesn't say rightly what it will do.
    is_loading: bool
    is_replica: bool
    #: Whether it only watches over servers, and keeps nothing.
    is_sentinel: bool
    replicas: int
    #: When it writes to the disk, of `FSYNC`; None when it doesn't say.
    fsync: str | None
    #: Whether it goes on without that while it writes its file anew.
    pauses: bool
    #: Whether it still makes its file, as when it is told to as it runs: if it ends before, there is none.
    is_making: bool
    #: What it deletes to make room; nothing as long as this is "noeviction" or there is no limit.
    eviction: str
    memory_bytes: int
    memory_limit: int
    clients_left: int
    write_error: bool
    #: As Redis comes, where the server hides its settings.
    limits: Limits

    @property
    def supported(self) -> bool:
        """Whether it has all that we use."""
        return is_at_least(self.version, OLDEST)

    @property
    def evicts(self) -> bool:
        """Whether it would delete events to make room."""
        return bool(self.memory_limit) and self.eviction != "noeviction"

    def check(self, address: Address) -> None:
        """Refuse a server that keeps less than the URL says, or that is not the one to write to."""
        if self.is_sentinel:
            raise QueueError(f"{address.name} is {SENTINEL}")
        if self.is_loading:
            raise QueueUnavailable(f"{address.name} reads its file after a start; we connect again by ourselves")
        if self.is_replica:
            raise QueueUnavailable(f"{address.name} is a replica: name the primary in queue_url")
        if not self.supported:
            raise QueueError(f"{address.name} is {self.name}; Forebay needs 7.0 or newer")
        if self.evicts:
            raise QueueError(
                f"{address.name} deletes events when its memory is full (maxmemory-policy {self.eviction}): set "
                "maxmemory-policy noeviction"
            )
        if fault := self.fsync_fault(address):
            raise QueueError(f"{address.name} {fault}")
        if fault := self.making_fault(address):
            raise QueueUnavailable(f"{address.name} {fault}; we connect again by ourselves")

    def fsync_fault(self, address: Address) -> str:
        """What it lacks to keep what the URL relies on, and what to do; empty when nothing."""
        if self.fsync is None and address.fsync != "no":
            return (
                "does not say whether it writes to the disk before it answers: let the user ask (ACL "
                "+config|get +info), or say with fsync=no in queue_url that events may be lost"
            )
        if self.fsync is not None and FSYNC.index(self.fsync) > FSYNC.index(address.fsync):
            return f"keeps less than fsync={address.fsync}, on which we rely: {self._lost()}"
        if self.pauses and address.fsync == "always":
            return "has no-appendfsync-on-rewrite yes, so that it keeps less now and then: set it to no"
        return ""

    def making_fault(self, address: Address) -> str:
        """Why nothing is kept just now, which passes; empty when it is."""
        if not self.is_making or address.fsync == "no":
            return ""
        return "makes its append-only file, and nothing that it answers outlives a crash until that is done"

    def _lost(self) -> str:
        if self.fsync == "no":
            has = "it has appendonly no, or appendfsync no, and a crash loses events that were answered"
        else:
            has = "it has appendfsync everysec, and a power cut loses the last second of events that were answered"
        return (
            f"{has}. Set appendonly yes and appendfsync always at the server, in redis.conf too (CONFIG REWRITE), or "
            f"say that this may be with fsync={self.fsync} in queue_url"
        )


def server(info: Mapping[str, Any], config: Mapping[str, str] | None) -> Server:
    """From the answers to INFO and CONFIG GET; the latter may be forbidden."""
    return Server(
        version=str(info["redis_version"]),
        name=f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}",
        is_loading=bool(int(info.get("loading", 0))),
        is_replica=info.get("role") == "slave",
        is_sentinel=info.get("redis_mode") == "sentinel",
        replicas=int(info.get("connected_slaves", 0)),
        fsync=_fsync(info, config),
        pauses=config is not None and config.get("no-appendfsync-on-rewrite") == "yes",
        is_making=_is_making(info),
        eviction=str(info.get("maxmemory_policy", "noeviction")),
        memory_bytes=int(info.get("used_memory", 0)),
        memory_limit=int(info.get("maxmemory", 0)),
        clients_left=int(info.get("maxclients", 0)) - int(info.get("connected_clients", 0)),
        write_error=info.get("aof_last_write_status", "ok") != "ok",
        limits=limits(config or {}),
    )


def _is_making(info: Mapping[str, Any]) -> bool:
    # Without a file that it has written whole before. One that was started with its file, and writes it anew for the
    # first time, looks alike.
    is_whole = int(info.get("aof_base_size", 0)) > 0
    is_writing = int(info.get("aof_rewrite_in_progress", 0)) or int(info.get("aof_rewrite_scheduled", 0))
    return bool(int(info.get("aof_enabled", 0)) and is_writing and not is_whole)


def _fsync(info: Mapping[str, Any], config: Mapping[str, str] | None) -> str | None:
    if not int(info.get("aof_enabled", 0)):
        return "no"
    return None if config is None else config.get("appendfsync")
