"""The Memcached queue: its promises, its streams, and its parts."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from forebay.queues.contract import Consumer, Inspector, Producer, Promises, Queue
from forebay.queues.errors import Unsupported
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PortalStore
from forebay.queues.presence import streams_found
from forebay.queues.settings import QueueSettings
from forebay.schemas.logger import get_logger

from ..groups.consumer import NOTE_BYTES
from .address import address
from .connection import MemcachedConnection, MemcachedStore
from .consumer import MemcachedConsumer
from .diagnosis import findings
from .inspector import MemcachedInspector
from .producer import MemcachedProducer
from .streams import make, missing

T = TypeVar("T")

log = get_logger(__name__)


class MemcachedQueue:
    """Streams in one server's memory, which may be gone at any time."""

    promises = Promises(durable=False, ordered=True, groups=True, shared=True, replay=False, note_bytes=NOTE_BYTES)

    def __init__(self, store: MemcachedStore) -> None:
        self._store = store

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        names = list(streams)
        return await self._once(lambda connection: missing(connection, names, partitions))

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        names = list(streams)
        return await self._once(lambda connection: make(connection, names, partitions))

    async def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """As in the contract."""
        yield await streams_found(self, needs)
        for finding in await self._once(lambda connection: list(findings(connection, needs))):
            yield finding

    async def _once(self, call: Callable[[MemcachedConnection], T]) -> T:
        return await self._store.thread("forebay-schema").run_and_close(call)

    def producer(self) -> Producer:
        """As in the contract."""
        self._warn()
        return MemcachedProducer(self._store)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract; one that dies is missed after a second or two more."""
        self._warn()
        return MemcachedConsumer(self._store, stream, group, session_s=session_s)

    def _warn(self) -> None:
        told = "events that were answered are lost when the server ends, and when its memory is full"
        log.warning("queue_volatile", queue=self._store.name, told=told)

    def inspector(self) -> Inspector:
        """As in the contract."""
        return MemcachedInspector(self._store)

    def portals(self, topic: str) -> PortalStore:
        """It can't: what is known of portals must outlast the server."""
        raise Unsupported(
            'queue_url: Memcached keeps nothing of portals, which auth = "registry" needs; take another auth, or queue'
        )

    async def close(self) -> None:
        """As in the contract: the parts share nothing."""


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that the setting `queue_url` names. Raises `QueueError` when the URL can't be read."""
    return MemcachedQueue(MemcachedStore(address(settings.queue_url)))
