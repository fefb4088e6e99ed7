"""Looking at a queue whose store is asked in a thread."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Generic, TypeVar

from forebay.queues.contract import Bounds, GroupState, Inspector, StoredRecord, among

from .connection_thread import Closable, ConnectionThread

C = TypeVar("C", bound=Closable)


class ThreadInspector(Inspector, ABC, Generic[C]):
    """Asks in a thread of its own. What it asks of a connection blocks, and is each store's own."""

    def __init__(self, thread: ConnectionThread[C]) -> None:
        self._thread = thread

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._thread.run(lambda connection: self._partitions(connection, stream))

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        return among(await self._thread.run(lambda connection: self._bounds(connection, stream)), only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract; large records come in fewer than asked for, but one at least."""
        return await self._thread.run(lambda connection: self._read(connection, stream, partition, offset, max_records))

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract; looks at the records one by one, since an index would cost every write."""
        return await self._thread.run(lambda connection: self._offset_at(connection, stream, partition, timestamp_ms))

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        return among(await self._thread.run(lambda connection: self._groups(connection, stream)), only)

    async def close(self) -> None:
        """As in the contract."""
        await self._thread.close()

    @abstractmethod
    def _partitions(self, connection: C, name: str) -> int: ...

    @abstractmethod
    def _bounds(self, connection: C, name: str) -> dict[int, Bounds]: ...

    @abstractmethod
    def _read(self, connection: C, name: str, number: int, offset: int, most: int) -> list[StoredRecord]: ...

    @abstractmethod
    def _offset_at(self, connection: C, name: str, number: int, timestamp_ms: int) -> int: ...

    @abstractmethod
    def _groups(self, connection: C, name: str) -> dict[str, dict[int, GroupState]]: ...
