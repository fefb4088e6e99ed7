"""The Kafka queue: its promises, its streams, and its parts."""

from collections.abc import AsyncIterator, Iterable

from forebay.queues.contract import Consumer, Inspector, Producer, Promises, Queue
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PortalStore
from forebay.queues.settings import QueueSettings
from forebay.schemas import names

from .admin import Admin
from .clients import Clients
from .consumer import KafkaConsumer
from .diagnosis.flow import Diagnosis
from .growth import grow
from .inspector import KafkaInspector
from .notes import NOTE_BYTES
from .portals import KafkaPortalStore
from .producer import KafkaProducer
from .topics import Topics


class KafkaQueue:
    """Streams as topics of one cluster."""

    promises = Promises(durable=True, ordered=True, groups=True, shared=True, replay=True, note_bytes=NOTE_BYTES)

    def __init__(self, settings: QueueSettings) -> None:
        self._clients = Clients(settings)
        self._admin = Admin(self._clients)
        self._topics = Topics(self._admin, settings.topic)

    def check_settings(self) -> None:
        """As in `ChecksSettings`."""
        self._clients.check()

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        return await self._topics.missing(streams, partitions)

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract; with copies on three brokers where there are so many."""
        return await self._topics.ensure(streams, partitions)

    async def grow(self, streams: Iterable[str], partitions: int, *, only_plan: bool) -> list[str]:
        """As in the contract. A process that runs meanwhile goes on by the old number until it is started again."""
        streams = list(streams)
        done = await grow(self._admin, streams, partitions, only_plan=only_plan)
        if not only_plan:
            self._topics.placement.counts.update(dict.fromkeys(streams, partitions))
        return done

    def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """As in the contract."""
        return Diagnosis(self._clients, self._admin).findings(needs)

    async def keeps_ms(self, stream: str) -> int | None:
        """As in `TakesByAge`."""
        return await self._topics.keeps_ms(stream)

    def producer(self) -> Producer:
        """As in the contract."""
        return KafkaProducer(self._clients, self._topics, self._topics.placement)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract."""
        return KafkaConsumer(self._clients, self._admin, self._topics, stream, group, session_s=session_s)

    def inspector(self) -> Inspector:
        """As in the contract."""
        return KafkaInspector(self._clients, self._admin, self._topics)

    def portals(self, topic: str) -> PortalStore:
        """As in the contract."""
        return KafkaPortalStore(self._clients, self._admin, self._topics, names.portals(topic))

    async def close(self) -> None:
        """As in the contract."""
        await self._admin.close()


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that the setting `queue_url` names."""
    return KafkaQueue(settings)
