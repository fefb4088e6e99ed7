"""The reading side: a member of a group whose leases and records are items."""

from ..groups.consumer import LeasedConsumer
from .connection import MemcachedConnection, MemcachedStore
from .group import MemcachedGroup
from .reading import MemcachedLog
from .streams import find


class MemcachedConsumer(LeasedConsumer[MemcachedConnection]):
    """A member of the group."""

    def __init__(self, store: MemcachedStore, stream: str, group: str, *, session_s: float) -> None:
        def member(connection: MemcachedConnection, me: str) -> tuple[MemcachedGroup, MemcachedLog]:
            found = find(connection, stream)
            return MemcachedGroup(name=group, of=found, me=me, session_s=session_s), MemcachedLog(found)

        super().__init__(store.thread, member)
