"""The RabbitMQ queue: its promises, its streams, and its parts."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from forebay.queues.contract import Consumer, Inspector, Producer, Promises, Queue
from forebay.queues.errors import Unsupported
from forebay.queues.findings import Finding, Needs
from forebay.queues.making import told
from forebay.queues.portals.contract import PortalStore
from forebay.queues.settings import QueueSettings

from .address import Address, address
from .catalog import Catalog
from .consumer import NOTE_BYTES, RabbitmqConsumer
from .diagnosis import findings
from .inspector import RabbitmqInspector
from .producer import RabbitmqProducer
from .writer import Writer


class RabbitmqQueue:
    """Streams of one virtual host, and a quorum queue before each."""

    promises = Promises(durable=True, ordered=True, groups=True, shared=True, replay=True, note_bytes=NOTE_BYTES)

    def __init__(self, address: Address) -> None:
        self._address = address

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        async with self._catalog() as catalog:
            return [told(name, partitions) for name in await catalog.missing(streams, partitions)]

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        async with self._catalog() as catalog:
            return [told(name, partitions) for name in await catalog.make(streams, partitions)]

    @asynccontextmanager
    async def _catalog(self) -> AsyncIterator[Catalog]:
        writer = Writer(self._address, "streams")
        try:
            yield Catalog(writer)
        finally:
            await writer.close()

    def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """As in the contract."""
        return findings(self, self._address, needs)

    def producer(self) -> Producer:
        """As in the contract."""
        return RabbitmqProducer(self._address)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract."""
        return RabbitmqConsumer(self._address, stream, group, session_s=session_s)

    def inspector(self) -> Inspector:
        """As in the contract."""
        return RabbitmqInspector(self._address)

    def portals(self, topic: str) -> PortalStore:
        """It can't: a stream forgets nothing of what was said under a key, not even a data key that was shredded."""
        raise Unsupported(
            "queue_url: RabbitMQ can't keep what is known of portals, since nothing of a stream can be erased; "
            "use another queue for portals that are registered or verified, and for data keys"
        )

    async def close(self) -> None:
        """As in the contract: the parts share nothing."""


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that the setting `queue_url` names."""
    return RabbitmqQueue(address(settings.queue_url))
