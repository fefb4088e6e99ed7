"""The Redis queue: its promises, its streams, and its parts."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TypeVar

from forebay.queues.contract import Consumer, Inspector, Producer, Promises, Queue
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PortalStore
from forebay.queues.presence import streams_found
from forebay.queues.settings import QueueSettings
from forebay.schemas import names

from ..groups.consumer import NOTE_BYTES
from ..groups.retention import Retention
from ..threads.connection_thread import Lives
from .address import address
from .connection import RedisConnection, RedisStore
from .consumer import RedisConsumer
from .diagnosis import findings
from .inspector import RedisInspector
from .portals import RedisPortalStore
from .producer import RedisProducer
from .retention import trim
from .streams import find, make, missing

T = TypeVar("T")


class RedisQueue:
    """Streams in one database of a Redis server. What it promises is what the URL relies on; each connection checks."""

    def __init__(self, store: RedisStore, retention: Retention) -> None:
        self._store, self._retention = store, retention
        # Of all that reads here and would not hear that others have gone on to another server.
        self._lives = Lives()
        durable = store.address.fsync == "always"
        self.promises = Promises(
            durable=durable, ordered=True, groups=True, shared=True, replay=True, note_bytes=NOTE_BYTES
        )

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
        for finding in await self._once(lambda connection: list(findings(connection, self._store.address, needs))):
            yield finding

    async def trim(self, stream: str, before: Mapping[int, int]) -> bool:
        """As in `Trims`."""
        keep_ms = self._retention.keep_ms
        return await self._once(lambda connection: trim(connection, find(connection, stream), before, keep_ms))

    async def _once(self, call: Callable[[RedisConnection], T]) -> T:
        return await self._store.thread("forebay-schema").run_and_close(call)

    def producer(self) -> Producer:
        """As in the contract."""
        return RedisProducer(self._store)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract."""
        return RedisConsumer(
            self._store, stream, group, session_s=session_s, retention=self._retention, lives=self._lives
        )

    def inspector(self) -> Inspector:
        """As in the contract."""
        return RedisInspector(self._store, self._lives)

    def portals(self, topic: str) -> PortalStore:
        """As in the contract."""
        return RedisPortalStore(self._store, names.portals(topic))

    async def close(self) -> None:
        """As in the contract: the parts share nothing."""


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that the setting `queue_url` names. Raises `QueueError` when the URL can't be read."""
    return RedisQueue(RedisStore(address(settings.queue_url)), Retention.of(settings))
