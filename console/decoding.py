"""Looking into a queue whose records may need the schema registry to be decoded."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from time import monotonic

from forebay.queues.contract import Bounds, GroupState, Inspector, Queue, StoredRecord
from forebay.queues.registry.errors import RegistryError
from forebay.queues.registry.opening import open_registry
from forebay.queues.registry.teacher import Teacher
from forebay.queues.settings import QueueSettings
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent

from .reading import inspected
from .terminal.output import note

#: A registry that does not answer is left alone for so long; meanwhile records are shown as they are.
_AGAIN_S = 10.0


@asynccontextmanager
async def decodable(settings: QueueSettings, queue: Queue, codec: Codec) -> AsyncIterator[Inspector]:
    """An inspector whose records the codec can decode as soon as they are read, if the registry lets it learn them."""
    registry = open_registry(settings)
    async with inspected(queue) as inspector:
        if registry is None:
            yield inspector
            return
        try:
            yield LearningInspector(inspector, codec, Teacher(codec, registry, settings.topic))
        finally:
            await registry.close()


class LearningInspector:
    """As in the contract. Teaches the codec what it lacks for the records before it gives them out."""

    def __init__(
        self,
        inspector: Inspector,
        codec: Codec,
        teacher: Teacher,
        *,
        say: Callable[[str], None] = note,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._inspector, self._codec, self._teacher = inspector, codec, teacher
        self._say, self._clock = say, clock
        self._others: set[int] = set()
        self._silent_until = clock()

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._inspector.partitions(stream)

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        return await self._inspector.bounds(stream, only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        records = await self._inspector.read(stream, partition, offset, max_records)
        for record in records:
            schema_id = self._codec.unknown_id(record.value)
            if schema_id is not None and schema_id not in self._others:
                await self._learn(schema_id)
        return records

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract."""
        return await self._inspector.offset_at(stream, partition, timestamp_ms)

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        return await self._inspector.groups(stream, only)

    async def close(self) -> None:
        """As in the contract."""
        await self._inspector.close()

    async def _learn(self, schema_id: int) -> None:
        if self._clock() < self._silent_until:
            return
        try:
            await self._teacher.teach(schema_id)
        except UndecodableEvent:
            self._others.add(schema_id)
        except RegistryError as error:
            self._silent_until = self._clock() + _AGAIN_S
            self._say(f"events with a schema id can't be read: {error}")
