"""The reading side: a member of a group whose leases and records are items."""

from dataclasses import dataclass

from ..groups.consumer import LeasedConsumer
from ..groups.contract import Group
from ..threads.connection_thread import ConnectionThread
from .connection import MemcachedConnection, MemcachedStore
from .group import MemcachedGroup
from .reading import MemcachedLog
from .streams import find


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupStore:
    """Where one consumer's group and stream are kept."""

    store: MemcachedStore
    stream: str
    group_name: str
    session_s: float

    def thread(self, name: str) -> ConnectionThread[MemcachedConnection]:
        return self.store.thread(name)

    def group(self, connection: MemcachedConnection, me: str) -> MemcachedGroup:
        stream = find(connection, self.stream)
        return MemcachedGroup(name=self.group_name, of=stream, me=me, session_s=self.session_s)

    def log(self, group: Group[MemcachedConnection]) -> MemcachedLog:
        assert isinstance(group, MemcachedGroup), "it is one of ours"  # noqa: S101 - for mypy
        return MemcachedLog(group.of)


class MemcachedConsumer(LeasedConsumer[MemcachedConnection]):
    """A member of the group."""

    def __init__(self, store: MemcachedStore, stream: str, group: str, *, session_s: float) -> None:
        kept = _GroupStore(store=store, stream=stream, group_name=group, session_s=session_s)
        super().__init__(kept)
